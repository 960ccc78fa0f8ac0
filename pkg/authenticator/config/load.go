package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds the configuration file; a ConfigMap cannot hold more.
const maxFileBytes = 4 << 20

const maxPort = 65535

// Problem is one thing wrong with a configuration.
type Problem struct {
	// File and Line say where; they are empty for a flag.
	File string
	Line int
	// Key is the key's path, "server.port" say, or the flag.
	Key     string
	Message string
}

// String returns "file:line: key: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors are all the problems of a configuration, in order.
type Errors []Problem

// Error returns one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the configuration file at path.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // before reading: what changes meanwhile is read again
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("configuration: %s is larger than %d bytes", path, maxFileBytes)
	}
	parsed, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	parsed.Info = info
	return parsed, nil
}

// Parse reads a configuration; name stands for the file in errors, which are
// Errors unless the text is no YAML at all.
func Parse(name string, data []byte) (*File, error) {
	var f File
	d := decoder{file: name}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &f, nil
	}
	if err != nil {
		return nil, Errors{{File: name, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if !errors.Is(dec.Decode(&more), io.EOF) {
		d.fail(&doc, "", "more than one YAML document, or something that is no YAML after the first")
	}
	if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
		d.object(doc.Content[0], "", fields{
			"clusterid":     {"clusterID", d.text(&f.ClusterID)},
			"log-verbosity": {"log-verbosity", d.text(&f.LogVerbosity)},
			"feature-gates": {"feature-gates", d.notHonoured("the gates are simply on")},
			"defaultrole":   {"defaultRole", d.notHonoured("it belongs to the client: set the environment variable DEFAULT_ROLE where tokens are made")},
			"server":        {"server", func(n *yaml.Node, key string) { d.server(n, key, &f.Server) }},
		})
	}
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return &f, nil
}

// server reads what stands under "server".
func (d *decoder) server(n *yaml.Node, key string, s *Server) {
	if isNull(n) {
		return
	}
	d.object(n, key, fields{
		"partition":                   {"partition", d.filled(&s.Partition)},
		"port":                        {"port", d.integer(&s.Port, 1, maxPort)},
		"hostname":                    {"hostname", d.filled(&s.Hostname)},
		"address":                     {"address", d.filled(&s.Address)},
		"statedir":                    {"stateDir", d.filled(&s.StateDir)},
		"generatekubeconfig":          {"generateKubeconfig", d.text(&s.GenerateKubeconfig)},
		"kubeconfigpregenerated":      {"kubeconfigPregenerated", d.boolean(&s.KubeconfigPregenerated)},
		"kubeconfig":                  {"kubeconfig", d.text(&s.Kubeconfig)},
		"master":                      {"master", d.text(&s.Master)},
		"backendmode":                 {"backendMode", d.modes(&s.BackendMode)},
		"ec2describeinstancesrolearn": {"ec2DescribeInstancesRoleARN", d.text(&s.EC2DescribeInstancesRoleARN)},
		"sourcearn":                   {"sourceARN", d.text(&s.SourceARN)},
		"ec2describeinstancesqps":     {"ec2DescribeInstancesQps", d.integer(&s.EC2DescribeInstancesQPS, 1, math.MaxInt)},
		"ec2describeinstancesburst":   {"ec2DescribeInstancesBurst", d.integer(&s.EC2DescribeInstancesBurst, 1, math.MaxInt)},
		"scrubbedaccounts":            {"scrubbedAccounts", d.words(&s.ScrubbedAccounts)},
		"dynamicfilepath":             {"dynamicfilepath", d.text(&s.DynamicFilePath)},
		"dynamicfileuseridstrict":     {"dynamicfileUserIDStrict", d.boolean(&s.DynamicFileUserIDStrict)},
		"dynamicbackendmodepath":      {"dynamicBackendModePath", d.text(&s.DynamicBackendModePath)},
		"maproles": {"mapRoles", d.list(func(n *yaml.Node, key string) {
			var r MapRole
			d.object(n, key, fields{
				"rolearn": {"rolearn", d.text(&r.RoleARN)},
				"sso": {"sso", func(n *yaml.Node, key string) {
					r.SSO = &SSO{}
					d.object(n, key, fields{
						"permissionsetname": {"permissionSetName", d.text(&r.SSO.PermissionSetName)},
						"accountid":         {"accountID", d.text(&r.SSO.AccountID)},
						"partition":         {"partition", d.text(&r.SSO.Partition)},
					})
				}},
				"userid":   {"userid", d.text(&r.UserID)},
				"username": {"username", d.text(&r.Username)},
				"groups":   {"groups", d.groups(&r.Groups, &r.blankGroups)},
			})
			s.MapRoles = append(s.MapRoles, r)
		})},
		"mapusers": {"mapUsers", d.list(func(n *yaml.Node, key string) {
			var u MapUser
			d.object(n, key, fields{
				"userarn":  {"userarn", d.text(&u.UserARN)},
				"userid":   {"userid", d.text(&u.UserID)},
				"username": {"username", d.text(&u.Username)},
				"groups":   {"groups", d.groups(&u.Groups, &u.blankGroups)},
			})
			s.MapUsers = append(s.MapUsers, u)
		})},
		"mapaccounts": {"mapAccounts", d.texts(&s.MapAccounts)},
		"reservedprefixconfig": {"reservedPrefixConfig", d.list(func(n *yaml.Node, key string) {
			var r ReservedPrefix
			d.object(n, key, fields{
				"backendmode":               {"backendmode", d.text(&r.BackendMode)},
				"usernameprefixreservelist": {"usernamePrefixReserveList", d.texts(&r.UsernamePrefixReserveList)},
			})
			s.ReservedPrefixConfig = append(s.ReservedPrefixConfig, r)
		})},
		"tokens": {"tokens", d.texts(&s.Tokens)},
		"tokenissuers": {"tokenIssuers", d.list(func(n *yaml.Node, key string) {
			var t TokenIssuer
			d.object(n, key, fields{
				"issuerurl": {"issuerURL", d.text(&t.IssuerURL)},
				"accountid": {"accountID", d.text(&t.AccountID)},
			})
			s.TokenIssuers = append(s.TokenIssuers, t)
		})},
		"audiences":          {"audiences", d.texts(&s.Audiences)},
		"region":             {"region", d.text(&s.Region)},
		"stsregions":         {"stsRegions", d.texts(&s.STSRegions)},
		"stsendpoint":        {"stsEndpoint", d.text(&s.STSEndpoint)},
		"healthaddress":      {"healthAddress", d.filled(&s.HealthAddress)},
		"healthport":         {"healthPort", d.integer(&s.HealthPort, 1, maxPort)},
		"healthsocket":       {"healthSocket", d.text(&s.HealthSocket)},
		"shareport":          {"sharePort", d.boolean(&s.SharePort)},
		"snapshotdir":        {"snapshotDir", d.text(&s.SnapshotDir)},
		"awsauthgraceperiod": {"awsAuthGracePeriod", d.duration(&s.AWSAuthGracePeriod)},
		"tokencachettl":      {"tokenCacheTTL", d.duration(&s.TokenCacheTTL)},
		"tokencachesize":     {"tokenCacheSize", d.size(&s.TokenCacheSize)},
	})
}
