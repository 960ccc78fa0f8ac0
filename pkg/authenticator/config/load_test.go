package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

func TestParseOriginalsKeys(t *testing.T) {
	t.Parallel()
	f, err := Parse("config.yaml", []byte(`
clusterID: my-cluster
server:
  partition: aws-us-gov
  port: 1234
  hostname: example.com
  address: 0.0.0.0
  STATEDIR: /state
  generateKubeconfig: /kc
  kubeconfigPregenerated: true
  kubeconfig: /admin
  master: https://10.0.0.1
  backendMode: EKSConfigMap, MountedFile
  ec2DescribeInstancesQps: 3
  scrubbedAccounts: [012345678901]
  mapRoles:
  - roleARN: arn:aws-us-gov:iam::012345678901:role/R
    username: "{{SessionName}}"
    groups: [a]
  - sso: {permissionSetName: Admin, accountID: 012345678901}
    username: b
  mapUsers:
  - userarn: arn:aws-us-gov:iam::012345678901:user/U
    username: u
  mapAccounts: [012345678901]
  reservedPrefixConfig:
  - backendMode: EKSConfigMap
    usernamePrefixReserveList: ["system:"]
`))
	if err != nil {
		t.Fatal(err)
	}
	s := Defaults()
	s.Apply(f)
	s.Complete()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if s.Port != 1234 || s.StateDir != "/state" || s.SnapshotDir != "/state" || !s.KubeconfigPregenerated || s.EC2DescribeInstancesQPS != 3 || s.EC2DescribeInstancesBurst != 5 {
		t.Errorf("got %+v", s)
	}
	if !reflect.DeepEqual([]string{"EKSConfigMap", "MountedFile"}, s.BackendMode) {
		t.Errorf("got %+v", s.BackendMode)
	}
	if len(s.Mounted.Roles) != 2 || s.Mounted.Roles[1].SSO.AccountID != "012345678901" || s.Mounted.Accounts[0] != "012345678901" {
		t.Errorf("got %+v", s.Mounted)
	}
	if !reflect.DeepEqual([]string{"my-cluster", "sts.amazonaws.com", "kubernetes"}, s.Audiences) {
		t.Errorf("got %+v", s.Audiences)
	}
}

func TestParseReportsEverything(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"unknown", "clusterid: a\nserver:\n  prot: 1\n", `f:3: server.prot: unknown key (known here: `},
		{"twice", "clusterID: a\nCLUSTERID: b\n", "f:2: clusterID: given twice, first in line 1"},
		{"not honoured", "feature-gates: {}\n", "f:1: feature-gates: not honoured by this server: "},
		{"client's key", "defaultRole: x\n", "f:1: defaultRole: not honoured by this server: "},
		{"type", "server: {port: many}\n", `f:1: server.port: want a whole number from 1 to 65535, got "many"`},
		{"port 0", "server:\n  port: 0\n", `f:2: server.port: want a whole number from 1 to 65535, got "0"`},
		{"port beyond", "server: {healthPort: 70000}\n", `f:1: server.healthPort: want a whole number from 1 to 65535, got "70000"`},
		{"no queries", "server: {ec2DescribeInstancesQps: 0}\n", `f:1: server.ec2DescribeInstancesQps: want a whole number of at least 1, got "0"`},
		{"no burst", "server: {ec2DescribeInstancesBurst: -1}\n", `server.ec2DescribeInstancesBurst: want a whole number of at least 1, got "-1"`},
		{"negative size", "server: {tokenCacheSize: -1}\n", `server.tokenCacheSize: want a whole number of at least 0, got "-1"`},
		{"empty address", "server: {address: ''}\n", "f:1: server.address: must not be empty"},
		{"no backends", "server: {backendMode: []}\n", "f:1: server.backendMode: must not be empty"},
		{"blank backends", "server: {backendMode: ' '}\n", "f:1: server.backendMode: must not be empty"},
		{"a backend missing", "server: {backendMode: 'CRD,,File'}\n", `f:1: server.backendMode: an element is missing in "CRD,,File"`},
		{"bool for text", "clusterID: true\n", `f:1: clusterID: want a string, got "true": put it in quotes`},
		{"list", "server:\n  mapAccounts: 1\n", `f:2: server.mapAccounts: want a list, got "1"`},
		{"element", "server:\n  mapRoles: [{rolearn: a, usernam: b}]\n", "f:2: server.mapRoles[0].usernam: unknown key"},
		{"no mapping", "- a\n", "f:1: want keys and values, got a list"},
		{"not YAML", "a: [\n", "f: not YAML: "},
		{"two documents", "clusterID: a\n---\nclusterID: b\n", "more than one YAML document"},
		{"duration", "server: {tokenCacheTTL: -1s}\n", "server.tokenCacheTTL: want a length of time"},
		{"several", "x: 1\nserver: {y: 1}\n", "f:2: server.y: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(tc.in))
			var all Errors
			if !errors.As(err, &all) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestEncodeIsReadBack(t *testing.T) {
	t.Parallel()
	yes, hour := true, time.Hour
	f := &File{ClusterID: "a", Server: Server{
		KubeconfigPregenerated: &yes, BackendMode: []string{"CRD"}, AWSAuthGracePeriod: &hour,
		TokenIssuers: []TokenIssuer{{IssuerURL: "https://u.tokens.sts.global.api.aws", AccountID: "000000000012"}},
		MapRoles:     []MapRole{{RoleARN: "arn:aws:iam::111122223333:role/R", Username: "{{SessionName}}", Groups: []string{"g"}}},
		MapAccounts:  []string{"012345678901"},
		Audiences:    []string{"a"},

		TokenCacheSize: new(0),
	}}
	data, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if got.Info == nil || got.Info.Size() != int64(len(data)) {
		t.Errorf("the file was %v", got.Info)
	}
	got.Info = nil
	if !reflect.DeepEqual(f, got) {
		t.Errorf("got %+v", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(*Settings)
		want string
	}{
		{"no cluster ID", func(s *Settings) { s.ClusterID = "" }, "clusterID: must not be empty"},
		{"partition", func(s *Settings) { s.Partition = "AWS" }, `unknown partition "AWS"`},
		{"backend", func(s *Settings) { s.BackendMode = []string{"ModeFoo"} }, `unknown backend mode "ModeFoo"`},
		{"no backend", func(s *Settings) { s.BackendMode = nil }, "no backend mode"},
		{"backend twice", func(s *Settings) { s.BackendMode = []string{"MountedFile", "File"} }, "MountedFile is listed twice"},
		{"dynamic file", func(s *Settings) { s.BackendMode = []string{"DynamicFile"} }, "server.dynamicfilepath: must be set"},
		{"issuer", func(s *Settings) { s.TokenIssuers = []TokenIssuer{{IssuerURL: "http://x", AccountID: "1"}} }, "want an https URL"},
		{"issuer's slash", func(s *Settings) {
			s.TokenIssuers = []TokenIssuer{{IssuerURL: "https://x/", AccountID: "111122223333"}}
		}, "must not end in a slash"},
		{"dynamic file nobody reads", func(s *Settings) { s.DynamicFilePath = "/x" }, "server.dynamicfilepath: is set, but DynamicFile is not among the backends, so nobody would read it: add that to server.backendMode (--backend-mode)"},
		{"port", func(s *Settings) { s.HealthPort = s.Port }, "taken by the webhook itself"},
		{"port beyond", func(s *Settings) { s.Port = 70000 }, "--port: want a whole number from 0 to 65535, got 70000"},
		{"no queries", func(s *Settings) { s.EC2DescribeInstancesQPS = 0 }, "--ec2-describeInstances-qps: want a whole number of at least 1, got 0"},
		{"negative size", func(s *Settings) { s.TokenCacheSize = -1 }, "--token-cache-size: want a whole number of at least 0, got -1"},
		{"negative time", func(s *Settings) { s.TokenCacheTTL = -time.Second }, "--token-cache-ttl: must not be negative, got -1s"},
		{"address", func(s *Settings) { s.Address = "300.1.1.1" }, `server.address: "300.1.1.1" is no IP address, and no host name`},
		{"health address", func(s *Settings) { s.HealthAddress = "a b" }, `server.healthAddress: "a b" is no IP address, and no host name`},
		{"region", func(s *Settings) { s.STSRegions = []string{"evil"} }, "server.stsRegions"},
		{"EC2 role", func(s *Settings) { s.EC2DescribeInstancesRoleARN = "DescribeInstances" }, "server.ec2DescribeInstancesRoleARN: "},
		{"EC2 role is a user", func(s *Settings) { s.EC2DescribeInstancesRoleARN = "arn:aws:iam::111122223333:user/U" }, "server.ec2DescribeInstancesRoleARN: \"arn:aws:iam::111122223333:user/U\" names no role"},
		{"EC2 role is a session", func(s *Settings) {
			s.EC2DescribeInstancesRoleARN = "arn:aws:sts::111122223333:assumed-role/R/s"
		}, "names no role"},
		{"EC2 role's partition", func(s *Settings) { s.EC2DescribeInstancesRoleARN = "arn:aws-cn:iam::111122223333:role/R" }, "is in partition aws-cn"},
		{"source", func(s *Settings) {
			s.EC2DescribeInstancesRoleARN, s.SourceARN = "arn:aws:iam::111122223333:role/R", "eks"
		}, "server.sourceARN: \"eks\" is no ARN"},
		{"source with a line break", func(s *Settings) {
			s.EC2DescribeInstancesRoleARN, s.SourceARN = "arn:aws:iam::111122223333:role/R", "arn:aws:eks:eu-west-1:111122223333:cluster/x\ny"
		}, "server.sourceARN: "},
		{"endpoint", func(s *Settings) { s.STSEndpoint = "https://user@host" }, "server.stsEndpoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := Defaults()
			s.ClusterID = "c"
			tc.edit(&s)
			s.Complete()
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	s := Defaults()
	s.ClusterID, s.BackendMode = "c", []string{"File", "ConfigMap"}
	s.EC2DescribeInstancesRoleARN, s.SourceARN = "arn:aws:iam::111122223333:role/a/R", "arn:aws:s3:::bucket"
	s.Complete()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestZeroThatIsGivenCounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want int
	}{
		{"server: {tokenCacheSize: 0}\n", 0},
		{"server: {tokenCacheSize: 7}\n", 7},
		{"server: {tokenCacheSize: null}\n", Defaults().TokenCacheSize},
		{"server: {}\n", Defaults().TokenCacheSize},
	} {
		f, err := Parse("f", []byte(tc.in))
		if err != nil {
			t.Fatal(err)
		}
		s := Defaults()
		s.Apply(f)
		if s.TokenCacheSize != tc.want {
			t.Errorf("%q: got %d", tc.in, s.TokenCacheSize)
		}
	}
}

func TestListsAsOneText(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"[CRD, MountedFile]", "CRD MountedFile", `"CRD,MountedFile"`, `" CRD ,  MountedFile "`} {
		f, err := Parse("f", []byte("server:\n  backendMode: "+in+"\n  scrubbedAccounts: 012345678901 111122223333\n"))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if want := []string{"CRD", "MountedFile"}; !reflect.DeepEqual(want, f.Server.BackendMode) {
			t.Errorf("%s: got %q", in, f.Server.BackendMode)
		}
		if want := []string{"012345678901", "111122223333"}; !reflect.DeepEqual(want, f.Server.ScrubbedAccounts) {
			t.Errorf("got %q", f.Server.ScrubbedAccounts)
		}
	}
}

func TestAddressesAndHostNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"127.0.0.1": true, "::": true, "fe80::1%eth0": true, "localhost": true, "node-1.example.com.": true, "Node-1": true,
		"": false, "300.1.1.1": false, "1.2.3": false, "[::1]": false, "a_b": false, "a:1": false, "-a": false,
	} {
		if got := isHost(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestBlankGroups(t *testing.T) {
	t.Parallel()
	f, err := Parse("f", []byte("server:\n  mapRoles:\n  - {rolearn: a, groups: []}\n  - {rolearn: b, groups: }\n  - {rolearn: c}\n  mapUsers:\n  - {userarn: d, groups: [g]}\n  - {userarn: e, Groups: ~}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[int]string{mapping.MapRoles: {1: "groups"}, mapping.MapUsers: {1: "groups"}}
	if got := f.Server.BlankGroups(); !reflect.DeepEqual(want, got) {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("clusterID: a\nserver: {mapRoles: [{rolearn: x}]}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		if (file == nil) == (err == nil) {
			t.Errorf("file %v, error %v", file, err)
		}
	})
}
