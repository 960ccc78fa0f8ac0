package config

import (
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// Settings are what the server runs with: defaults, overlaid by the file, by
// the environment and by flags.
type Settings struct {
	// ConfigFile is where the file was read from; empty if there was none.
	ConfigFile string
	// ConfigInfo is the file as it was then.
	ConfigInfo fs.FileInfo
	ClusterID  string
	Partition  string

	Address                string
	Port                   int
	Hostname               string
	StateDir               string
	GenerateKubeconfig     string
	KubeconfigPregenerated bool
	Kubeconfig             string
	Master                 string
	HealthAddress          string
	HealthPort             int
	HealthSocket           string
	SharePort              bool

	BackendMode             []string
	Mounted                 mapping.Mappings
	DynamicFilePath         string
	DynamicFileUserIDStrict bool
	// DynamicBackendModePath is a file that names other backends while it is there.
	DynamicBackendModePath string
	SnapshotDir            string
	AWSAuthGracePeriod     time.Duration
	ScrubbedAccounts       []string
	// ReservedPrefixes are username prefixes that are refused, by backend.
	ReservedPrefixes map[string][]string

	// Tokens are the kinds of token that may log in; all if empty.
	Tokens         []string
	TokenIssuers   []TokenIssuer
	Audiences      []string
	Region         string
	STSRegions     []string
	STSEndpoint    string
	TokenCacheTTL  time.Duration
	TokenCacheSize int

	EC2DescribeInstancesRoleARN string
	SourceARN                   string
	EC2DescribeInstancesQPS     int
	EC2DescribeInstancesBurst   int
}

// Kinds of token.
const (
	TokenPresigned = "presigned"
	TokenJWT       = "jwt"
)

// TakesPresigned tells whether presigned tokens may log in.
func (s *Settings) TakesPresigned() bool {
	return len(s.Tokens) == 0 || slices.Contains(s.Tokens, TokenPresigned)
}

// TakesJWT tells whether JWTs may log in, if their issuer is known.
func (s *Settings) TakesJWT() bool {
	return len(s.Tokens) == 0 || slices.Contains(s.Tokens, TokenJWT)
}

// KnownRegions returns the regions that the operator vouches for: those of the
// configuration, and the server's own, should it be newer than this program.
func (s *Settings) KnownRegions(p iam.Partition) []string {
	regions := slices.Clone(s.STSRegions)
	if iam.LooksLikeRegion(s.Region) {
		if _, err := iam.NewHostSet(p, s.Region); err == nil {
			regions = append(regions, s.Region)
		}
	}
	return regions
}

// Defaults returns the settings with nothing set: those of
// aws-iam-authenticator v0.7.18 where it has them.
func Defaults() Settings {
	return Settings{
		Partition:                 "aws",
		Address:                   "127.0.0.1",
		Port:                      21362,
		Hostname:                  "localhost",
		StateDir:                  "/var/aws-iam-authenticator",
		GenerateKubeconfig:        "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml",
		HealthAddress:             "127.0.0.1",
		HealthPort:                21363,
		BackendMode:               []string{mapping.BackendMountedFile},
		AWSAuthGracePeriod:        time.Hour,
		TokenCacheTTL:             time.Minute,
		TokenCacheSize:            4096,
		EC2DescribeInstancesQPS:   15,
		EC2DescribeInstancesBurst: 5,
	}
}

// Apply overlays the settings with what the file sets.
func (s *Settings) Apply(f *File) {
	v := &f.Server
	s.ConfigInfo = f.Info
	set(&s.ClusterID, f.ClusterID)
	set(&s.Partition, v.Partition)
	set(&s.Port, v.Port)
	set(&s.Hostname, v.Hostname)
	set(&s.Address, v.Address)
	set(&s.StateDir, v.StateDir)
	set(&s.GenerateKubeconfig, v.GenerateKubeconfig)
	setPtr(&s.KubeconfigPregenerated, v.KubeconfigPregenerated)
	set(&s.Kubeconfig, v.Kubeconfig)
	set(&s.Master, v.Master)
	if len(v.BackendMode) > 0 {
		s.BackendMode = v.BackendMode
	}
	set(&s.EC2DescribeInstancesRoleARN, v.EC2DescribeInstancesRoleARN)
	set(&s.SourceARN, v.SourceARN)
	set(&s.EC2DescribeInstancesQPS, v.EC2DescribeInstancesQPS)
	set(&s.EC2DescribeInstancesBurst, v.EC2DescribeInstancesBurst)
	s.ScrubbedAccounts = append(s.ScrubbedAccounts, v.ScrubbedAccounts...)
	set(&s.DynamicFilePath, v.DynamicFilePath)
	setPtr(&s.DynamicFileUserIDStrict, v.DynamicFileUserIDStrict)
	set(&s.DynamicBackendModePath, v.DynamicBackendModePath)
	s.Mounted = v.Mappings()
	for _, r := range v.ReservedPrefixConfig {
		if s.ReservedPrefixes == nil {
			s.ReservedPrefixes = map[string][]string{}
		}
		s.ReservedPrefixes[r.BackendMode] = append(s.ReservedPrefixes[r.BackendMode], r.UsernamePrefixReserveList...)
	}
	s.Tokens = append(s.Tokens, v.Tokens...)
	s.TokenIssuers = append(s.TokenIssuers, v.TokenIssuers...)
	s.Audiences = append(s.Audiences, v.Audiences...)
	set(&s.Region, v.Region)
	s.STSRegions = append(s.STSRegions, v.STSRegions...)
	set(&s.STSEndpoint, v.STSEndpoint)
	set(&s.HealthAddress, v.HealthAddress)
	set(&s.HealthPort, v.HealthPort)
	set(&s.HealthSocket, v.HealthSocket)
	setPtr(&s.SharePort, v.SharePort)
	set(&s.SnapshotDir, v.SnapshotDir)
	setPtr(&s.AWSAuthGracePeriod, v.AWSAuthGracePeriod)
	setPtr(&s.TokenCacheTTL, v.TokenCacheTTL)
	setPtr(&s.TokenCacheSize, v.TokenCacheSize)
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

func setPtr[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

// Complete fills in what follows from other settings: audiences from the
// cluster ID, the snapshot directory from the state directory, and backends'
// newer names.
func (s *Settings) Complete() {
	if len(s.Audiences) == 0 && s.ClusterID != "" {
		s.Audiences = []string{s.ClusterID, "sts.amazonaws.com", "kubernetes"}
	}
	if s.SnapshotDir == "" {
		s.SnapshotDir = s.StateDir
	}
	if modes, err := mapping.ParseBackends(s.BackendMode); err == nil {
		s.BackendMode = modes
	}
	if len(s.ReservedPrefixes) > 0 {
		renamed := make(map[string][]string, len(s.ReservedPrefixes))
		for m, p := range s.ReservedPrefixes {
			if modes, err := mapping.ParseBackends([]string{m}); err == nil {
				m = modes[0]
			}
			renamed[m] = append(renamed[m], p...)
		}
		s.ReservedPrefixes = renamed
	}
}

// Check returns all that is wrong with completed settings, as Errors, or nil.
func (s *Settings) Check() error {
	var e Errors
	fail := func(key, format string, args ...any) {
		e = append(e, Problem{File: s.ConfigFile, Key: key, Message: fmt.Sprintf(format, args...)})
	}
	if s.ClusterID == "" {
		fail("clusterID", "must not be empty: give --cluster-id, or clusterID in the configuration file")
	}
	p, ok := iam.LookupPartition(s.Partition)
	if !ok {
		fail("server.partition", "unknown partition %q (one of %s)", s.Partition, strings.Join(iam.PartitionIDs(), ", "))
	} else if _, err := iam.NewHostSet(p, s.STSRegions...); err != nil {
		fail("server.stsRegions", "%v", err)
	}
	s.checkBackends(fail)
	e = append(e, s.checkNumbers()...)
	if s.Port != 0 && s.Port == s.HealthPort && s.Address == s.HealthAddress {
		fail("server.healthPort", "port %d is taken by the webhook itself", s.Port)
	}
	for _, x := range []struct{ key, address string }{{"server.address", s.Address}, {"server.healthAddress", s.HealthAddress}} {
		if !isHost(x.address) {
			fail(x.key, "%q is no IP address, and no host name", x.address)
		}
	}
	for _, a := range s.ScrubbedAccounts {
		if !iam.IsAccountID(a) {
			fail("server.scrubbedAccounts", "%q: an account has twelve digits", a)
		}
	}
	if s.STSEndpoint != "" {
		if msg := checkURL(s.STSEndpoint, true); msg != "" {
			fail("server.stsEndpoint", "%q: %s", s.STSEndpoint, msg)
		}
	}
	s.checkEC2Role(fail)
	s.checkIssuers(fail)
	if len(e) > 0 {
		return e
	}
	return nil
}

// checkNumbers checks what flags say; the file's numbers are checked as they are
// read. There a port must not be 0, one nobody knows beforehand, which is of use
// to tests only.
func (s *Settings) checkNumbers() (e Errors) {
	for _, x := range []struct {
		flag               string
		value, least, most int
	}{
		{"--port", s.Port, 0, maxPort},
		{"--health-port", s.HealthPort, 0, maxPort},
		{"--ec2-describeInstances-qps", s.EC2DescribeInstancesQPS, 1, math.MaxInt},
		{"--ec2-describeInstances-burst", s.EC2DescribeInstancesBurst, 1, math.MaxInt},
		{"--token-cache-size", s.TokenCacheSize, 0, math.MaxInt},
	} {
		if x.value < x.least || x.value > x.most {
			e = append(e, Problem{Key: x.flag, Message: fmt.Sprintf("want a whole number %s, got %d", numberRange(x.least, x.most), x.value)})
		}
	}
	for _, x := range []struct {
		flag  string
		value time.Duration
	}{{"--token-cache-ttl", s.TokenCacheTTL}, {"--aws-auth-grace-period", s.AWSAuthGracePeriod}} {
		if x.value < 0 {
			e = append(e, Problem{Key: x.flag, Message: fmt.Sprintf("must not be negative, got %s", x.value)})
		}
	}
	return e
}

// isHost tells whether text can be listened on: an IP address, or a host name,
// which is looked up only then. A name whose last label is a number would be a
// mistyped address.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	_, err := strconv.Atoi(name[strings.LastIndexByte(name, '.')+1:])
	return err != nil && len(validation.IsDNS1123Subdomain(name)) == 0
}

// checkEC2Role checks what would otherwise show at a node's first login. The
// source's ARN, which nothing but the role makes use of, is of any service, so
// only its form is looked at: six fields
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
func (s *Settings) checkEC2Role(fail func(key, format string, args ...any)) {
	const key = "server.ec2DescribeInstancesRoleARN"
	text := s.EC2DescribeInstancesRoleARN
	if text == "" {
		return
	}
	arn, err := iam.ParseARN(text)
	switch {
	case err != nil:
		fail(key, "%v", err)
	case arn.Kind != iam.KindRole:
		fail(key, "%q names no role that could be assumed (want arn:%s:iam::<account>:role/<name>)", text, s.Partition)
	case arn.Partition != s.Partition:
		fail(key, "%q is in partition %s, and this server's is %s", text, arn.Partition, s.Partition)
	}
	if f := strings.SplitN(s.SourceARN, ":", 6); s.SourceARN != "" && (len(f) != 6 || f[0] != "arn" || strings.ContainsFunc(s.SourceARN, notVisible)) {
		fail("server.sourceARN", "%q is no ARN (want arn:<partition>:<service>:<region>:<account>:<resource>)", s.SourceARN)
	}
}

// notVisible tells whether a character cannot stand in an HTTP header's value
// as it is.
func notVisible(r rune) bool { return r <= ' ' || r > '~' }

func (s *Settings) checkBackends(fail func(key, format string, args ...any)) {
	if _, err := mapping.ParseBackends(s.BackendMode); err != nil {
		fail("server.backendMode", "%v", err)
	}
	switch dynamic := slices.Contains(s.BackendMode, mapping.BackendDynamicFile); {
	case dynamic && s.DynamicFilePath == "":
		fail("server.dynamicfilepath", "must be set for the backend %s", mapping.BackendDynamicFile)
	case !dynamic && s.DynamicFilePath != "" && s.DynamicBackendModePath == "":
		fail("server.dynamicfilepath", "is set, but %s is not among the backends, so nobody would read it: add that to server.backendMode (--backend-mode), or take this key out", mapping.BackendDynamicFile)
	}
	for m := range s.ReservedPrefixes {
		if !slices.Contains(mapping.Backends(), m) {
			fail("server.reservedPrefixConfig", "unknown backend %q (one of %s)", m, strings.Join(mapping.Backends(), ", "))
		}
	}
}

func (s *Settings) checkIssuers(fail func(key, format string, args ...any)) {
	for _, kind := range s.Tokens {
		if kind != TokenPresigned && kind != TokenJWT {
			fail("server.tokens", "unknown kind %q (one of %s, %s)", kind, TokenPresigned, TokenJWT)
		}
	}
	if !s.TakesPresigned() && len(s.TokenIssuers) == 0 {
		fail("server.tokens", "takes JWTs only, and server.tokenIssuers is empty: nobody could log in")
	}
	seen := map[string]bool{}
	for i, t := range s.TokenIssuers {
		key := fmt.Sprintf("server.tokenIssuers[%d]", i)
		if msg := checkURL(t.IssuerURL, false); msg != "" {
			fail(key+".issuerURL", "%q: %s", t.IssuerURL, msg)
		}
		if !iam.IsAccountID(t.AccountID) {
			fail(key+".accountID", "%q: an account has twelve digits", t.AccountID)
		}
		if seen[t.IssuerURL] {
			fail(key+".issuerURL", "%q is listed twice", t.IssuerURL)
		}
		seen[t.IssuerURL] = true
	}
}

// checkURL says what keeps text from being a plain https URL.
func checkURL(text string, bare bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "not a URL"
	case u.Scheme != "https":
		return "want an https URL"
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return "want a host and nothing of user, query or fragment"
	case bare && u.Path != "" && u.Path != "/":
		return "want no path"
	case !bare && strings.HasSuffix(u.Path, "/"):
		return "must not end in a slash: it is compared with the token's iss exactly"
	}
	return ""
}
