package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/capiam/capiam/pkg/mapping"
)

// File is the configuration file as it is written. A field that is zero (or
// nil) was not set, and leaves the default in force: Parse takes no zero where
// that would not be the same.
type File struct {
	// ClusterID is the name tokens are made for.
	ClusterID string `yaml:"clusterID,omitempty"`
	// LogVerbosity is what --log-verbosity says.
	LogVerbosity string `yaml:"log-verbosity,omitempty"`
	Server       Server `yaml:"server,omitempty"`
	// Info is the file as it was when Load read it; nil for another's text.
	Info fs.FileInfo `yaml:"-"`
}

// Server is the part of the file under "server". The first group of fields is
// aws-iam-authenticator's; what they mean is said in docs/authenticator.md.
type Server struct {
	Partition              string   `yaml:"partition,omitempty"`
	Port                   int      `yaml:"port,omitempty"`
	Hostname               string   `yaml:"hostname,omitempty"`
	Address                string   `yaml:"address,omitempty"`
	StateDir               string   `yaml:"stateDir,omitempty"`
	GenerateKubeconfig     string   `yaml:"generateKubeconfig,omitempty"`
	KubeconfigPregenerated *bool    `yaml:"kubeconfigPregenerated,omitempty"`
	Kubeconfig             string   `yaml:"kubeconfig,omitempty"`
	Master                 string   `yaml:"master,omitempty"`
	BackendMode            []string `yaml:"backendMode,omitempty"`

	EC2DescribeInstancesRoleARN string `yaml:"ec2DescribeInstancesRoleARN,omitempty"`
	SourceARN                   string `yaml:"sourceARN,omitempty"`
	EC2DescribeInstancesQPS     int    `yaml:"ec2DescribeInstancesQps,omitempty"`
	EC2DescribeInstancesBurst   int    `yaml:"ec2DescribeInstancesBurst,omitempty"`

	ScrubbedAccounts        []string         `yaml:"scrubbedAccounts,omitempty"`
	DynamicFilePath         string           `yaml:"dynamicfilepath,omitempty"`
	DynamicFileUserIDStrict *bool            `yaml:"dynamicfileUserIDStrict,omitempty"`
	DynamicBackendModePath  string           `yaml:"dynamicBackendModePath,omitempty"`
	MapRoles                []MapRole        `yaml:"mapRoles,omitempty"`
	MapUsers                []MapUser        `yaml:"mapUsers,omitempty"`
	MapAccounts             []string         `yaml:"mapAccounts,omitempty"`
	ReservedPrefixConfig    []ReservedPrefix `yaml:"reservedPrefixConfig,omitempty"`

	// Tokens are the kinds of token that may log in: "presigned" and "jwt".
	// Both if empty, though a JWT needs its issuer among TokenIssuers.
	Tokens []string `yaml:"tokens,omitempty"`
	// TokenIssuers switch logins by JWT on: no other issuer is ever asked for
	// its keys.
	TokenIssuers []TokenIssuer `yaml:"tokenIssuers,omitempty"`
	// Audiences a JWT may be made for. If empty: the cluster ID,
	// "sts.amazonaws.com" and "kubernetes".
	Audiences []string `yaml:"audiences,omitempty"`
	// Region is the cluster's own region; EC2 is asked there.
	Region string `yaml:"region,omitempty"`
	// STSRegions are regions newer than this program, whose STS may be called
	// too.
	STSRegions []string `yaml:"stsRegions,omitempty"`
	// STSEndpoint is an https URL that STS calls are sent to whatever host the
	// token names: a VPC endpoint, say. The Host header and the signature stay
	// those of the token's host.
	STSEndpoint string `yaml:"stsEndpoint,omitempty"`
	// HealthAddress and HealthPort are where liveness, readiness and metrics
	// are served without TLS; "127.0.0.1" and 21363 if unset.
	HealthAddress string `yaml:"healthAddress,omitempty"`
	HealthPort    int    `yaml:"healthPort,omitempty"`
	// HealthSocket is the path of a unix socket where the same is served, so that
	// a server can be asked itself while two share the port; none if unset.
	HealthSocket string `yaml:"healthSocket,omitempty"`
	// SharePort lets two servers of one user listen on the same ports, so that
	// one can take over from the other without losing a login. A server that
	// shares them listens for logins once it can judge them. Linux only.
	SharePort *bool `yaml:"sharePort,omitempty"`
	// SnapshotDir keeps the last good mappings over a restart; the state
	// directory if empty.
	SnapshotDir string `yaml:"snapshotDir,omitempty"`
	// AWSAuthGracePeriod is how long the entries of a deleted aws-auth stay
	// in force; one hour if unset.
	AWSAuthGracePeriod *time.Duration `yaml:"awsAuthGracePeriod,omitempty"`
	// TokenCacheTTL is how long a verified token is remembered at most; zero
	// switches the cache off; one minute if unset.
	TokenCacheTTL *time.Duration `yaml:"tokenCacheTTL,omitempty"`
	// TokenCacheSize is how many verified tokens are remembered at most; zero
	// switches the cache off; 4096 if unset.
	TokenCacheSize *int `yaml:"tokenCacheSize,omitempty"`
}

// MapRole is one role, or one SSO permission set, of the MountedFile backend.
type MapRole struct {
	RoleARN  string   `yaml:"rolearn,omitempty"`
	SSO      *SSO     `yaml:"sso,omitempty"`
	UserID   string   `yaml:"userid,omitempty"`
	Username string   `yaml:"username,omitempty"`
	Groups   []string `yaml:"groups,omitempty"`
	// blankGroups says that nothing stands after "groups", which is no way to
	// say that there are none.
	blankGroups bool
}

// SSO names a permission set of IAM Identity Center.
type SSO struct {
	PermissionSetName string `yaml:"permissionSetName,omitempty"`
	AccountID         string `yaml:"accountID,omitempty"`
	Partition         string `yaml:"partition,omitempty"`
}

// MapUser is one user of the MountedFile backend.
type MapUser struct {
	UserARN  string   `yaml:"userarn,omitempty"`
	UserID   string   `yaml:"userid,omitempty"`
	Username string   `yaml:"username,omitempty"`
	Groups   []string `yaml:"groups,omitempty"`
	// blankGroups says that nothing stands after "groups", which is no way to
	// say that there are none.
	blankGroups bool
}

// ReservedPrefix forbids usernames that start with one of the prefixes to come
// out of one backend.
type ReservedPrefix struct {
	BackendMode               string   `yaml:"backendmode,omitempty"`
	UsernamePrefixReserveList []string `yaml:"usernamePrefixReserveList,omitempty"`
}

// TokenIssuer is one AWS account's issuer of JWTs.
type TokenIssuer struct {
	// IssuerURL is compared with a token's iss exactly.
	IssuerURL string `yaml:"issuerURL,omitempty"`
	// AccountID is the only account whose principals the issuer may name.
	AccountID string `yaml:"accountID,omitempty"`
}

// Encode returns the file as YAML; Parse reads it back the same.
func (f *File) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(f); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return b.Bytes(), nil
}

// Mappings returns the table of the MountedFile backend.
func (s *Server) Mappings() mapping.Mappings {
	var m mapping.Mappings
	for _, r := range s.MapRoles {
		e := mapping.Entry{ARN: r.RoleARN, UserID: r.UserID, Username: r.Username, Groups: r.Groups}
		if r.SSO != nil {
			e.SSO = &mapping.SSO{PermissionSetName: r.SSO.PermissionSetName, AccountID: r.SSO.AccountID, Partition: r.SSO.Partition}
		}
		m.Roles = append(m.Roles, e)
	}
	for _, u := range s.MapUsers {
		m.Users = append(m.Users, mapping.Entry{ARN: u.UserARN, UserID: u.UserID, Username: u.Username, Groups: u.Groups})
	}
	m.Accounts = append(m.Accounts, s.MapAccounts...)
	return m
}

// BlankGroups returns the places of the entries that have "groups" with nothing
// after it, by section, as mapping.Listed wants them in LostBy.
func (s *Server) BlankGroups() map[string]map[int]string {
	blank := map[string]map[int]string{mapping.MapRoles: {}, mapping.MapUsers: {}}
	for i, r := range s.MapRoles {
		if r.blankGroups {
			blank[mapping.MapRoles][i] = "groups"
		}
	}
	for i, u := range s.MapUsers {
		if u.blankGroups {
			blank[mapping.MapUsers][i] = "groups"
		}
	}
	return blank
}
