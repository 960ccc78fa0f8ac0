package v1alpha1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Most rules are tested through pkg/spec's fixtures. What follows needs a table.

func clusterOn(datacenter string) *Cluster {
	c := &Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: "prod"},
		Spec: ClusterSpec{
			KubernetesVersion:    "1.32",
			DatacenterRef:        Ref{Kind: datacenter, Name: "prod"},
			IdentityProviderRefs: []Ref{{Kind: AWSIamConfigKind, Name: "iam"}},
		},
	}
	c.SetDefaults()
	return c
}

const issuerURL = "https://1f2551c6-742f-4142-8000-0123456789ab.tokens.sts.global.api.aws"

func issuers() []TokenIssuer {
	return []TokenIssuer{{IssuerURL: issuerURL, AccountID: "111122223333"}}
}

func config(edit func(*AWSIamConfigSpec)) *AWSIamConfig {
	c := &AWSIamConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "iam"},
		Spec: AWSIamConfigSpec{
			AWSRegion:   "us-west-2",
			BackendMode: []string{BackendEKSConfigMap},
			MapRoles:    []MapRole{{RoleARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin", Groups: []string{"system:masters"}}},
		},
	}
	edit(&c.Spec)
	return c
}

func TestTokensOnRealClusters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(*AWSIamConfigSpec)
		// tokens and client are the defaults that come out.
		tokens []string
		client string
		// want are "field: part of the message".
		want []string
	}{
		{
			name:   "plain",
			edit:   func(*AWSIamConfigSpec) {},
			tokens: []string{TokenPresigned},
			client: ClientAWSIAMAuthenticator,
		},
		{
			name:   "issuers switch JWTs on",
			edit:   func(s *AWSIamConfigSpec) { s.TokenIssuers = issuers() },
			tokens: []string{TokenPresigned, TokenJWT},
			client: ClientAWSIAMAuthenticator,
		},
		{
			name:   "JWTs without an issuer",
			edit:   func(s *AWSIamConfigSpec) { s.Tokens = []string{TokenPresigned, TokenJWT} },
			tokens: []string{TokenPresigned, TokenJWT},
			client: ClientAWSIAMAuthenticator,
			want:   []string{"spec.tokens: needs spec.tokenIssuers"},
		},
		{
			name: "issuers without JWTs",
			edit: func(s *AWSIamConfigSpec) {
				s.Tokens = []string{TokenPresigned}
				s.TokenIssuers = issuers()
			},
			tokens: []string{TokenPresigned},
			client: ClientAWSIAMAuthenticator,
			want:   []string{"spec.tokens: jwt is not listed"},
		},
		{
			name: "JWTs alone and a client that makes none",
			edit: func(s *AWSIamConfigSpec) {
				s.Tokens = []string{TokenJWT}
				s.TokenIssuers = issuers()
			},
			tokens: []string{TokenJWT},
			client: ClientAWSIAMAuthenticator,
			want:   []string{"spec.client.command: write capiam"},
		},
		{
			name: "JWTs alone and a session's name",
			edit: func(s *AWSIamConfigSpec) {
				s.Tokens = []string{TokenJWT}
				s.TokenIssuers = issuers()
				s.Client.Command = ClientCapiam
				s.MapRoles[0].Username = "admin:{{SessionName}}"
			},
			tokens: []string{TokenJWT},
			client: ClientCapiam,
			want:   []string{"spec.mapRoles[0].username: {{SessionName}} is not in a JWT"},
		},
		{
			name:   "the other implementation",
			edit:   func(s *AWSIamConfigSpec) { s.Server.Implementation = ImplementationAWSIAMAuthenticator },
			tokens: []string{TokenPresigned},
			client: ClientAWSIAMAuthenticator,
		},
		{
			name: "the other implementation with issuers",
			edit: func(s *AWSIamConfigSpec) {
				s.Server.Implementation = ImplementationAWSIAMAuthenticator
				s.TokenIssuers = issuers()
			},
			tokens: []string{TokenPresigned},
			client: ClientAWSIAMAuthenticator,
			want:   []string{"spec.server.implementation: takes no JWTs"},
		},
		{
			name: "the other implementation with SSO roles",
			edit: func(s *AWSIamConfigSpec) {
				s.Server.Implementation = ImplementationAWSIAMAuthenticator
				s.SSORoles = []SSORole{{AccountID: "111122223333", PermissionSetName: "Viewer", Username: "viewer"}}
			},
			tokens: []string{TokenPresigned},
			client: ClientAWSIAMAuthenticator,
			want:   []string{"spec.ssoRoles: warning: feature gate SSORoleMatch"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cluster := clusterOn(ClusterAPIDatacenterConfigKind)
			c := config(tt.edit)
			c.SetDefaults(cluster)
			if diff := cmp.Diff(tt.tokens, c.Spec.Tokens); diff != "" {
				t.Errorf("tokens:\n%s", diff)
			}
			if c.Spec.Client.Command != tt.client {
				t.Errorf("client = %s, want %s", c.Spec.Client.Command, tt.client)
			}
			checkProblems(t, c.Validate(cluster), tt.want)
		})
	}
}

// checkProblems compares problems with "field: part of the message", or
// "field: warning: part of the message".
func checkProblems(t *testing.T, got []Problem, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("problems %+v, want %q", got, want)
		return
	}
	for i, p := range got {
		field, message, _ := strings.Cut(want[i], ": ")
		text, warning := strings.CutPrefix(message, "warning: ")
		if p.Field != field || p.Warning != warning || !strings.Contains(p.Message, text) {
			t.Errorf("problem %+v, want %q", p, want[i])
		}
	}
}

func TestClusterNames(t *testing.T) {
	t.Parallel()
	good := []string{"ab", "local", "a-1", "a" + strings.Repeat("b", MaxClusterNameLength-1)}
	bad := []string{"", "a", "1a", "-ab", "a_b", "a.b", "a b", "ab-", "Ab", "ab\n", "../ab", "ü-b", "a" + strings.Repeat("b", MaxClusterNameLength)}
	for _, name := range good {
		if message := CheckClusterName(name); message != "" {
			t.Errorf("%q: %s", name, message)
		}
	}
	for _, name := range bad {
		if CheckClusterName(name) == "" {
			t.Errorf("%q: taken", name)
		}
	}
}

func TestClusterOnRealMachines(t *testing.T) {
	t.Parallel()
	c := clusterOn(ClusterAPIDatacenterConfigKind)
	c.Spec.ControlPlaneConfiguration = ControlPlaneConfiguration{Count: 3, Endpoint: &Endpoint{Host: "192.0.2.1"}}
	c.Spec.ManagementCluster.Name = "mgmt"
	checkProblems(t, c.Validate(), []string{
		"spec.controlPlaneConfiguration.count: warning: left alone",
		"spec.controlPlaneConfiguration.endpoint: warning: left alone",
	})
	c.Spec.ControlPlaneConfiguration = ControlPlaneConfiguration{}
	c.Spec.KubernetesVersion = ""
	checkProblems(t, c.Validate(), []string{"spec.kubernetesVersion: required"})
}

func TestProxies(t *testing.T) {
	t.Parallel()
	good := []string{"", "proxy:3128", "http://proxy", "https://user:p%40ss@proxy.example.com:3128/", "http://[fd00::1]:80", "192.0.2.1:8080"}
	bad := []string{"http://", "ftp://proxy", "http://proxy:0", "http://proxy:65536", "http://proxy/path", "a b", "http://pro xy", ":3128", "\x00"}
	for _, proxy := range good {
		if !isProxy(proxy) {
			t.Errorf("%q: refused", proxy)
		}
	}
	for _, proxy := range bad {
		if isProxy(proxy) {
			t.Errorf("%q: taken", proxy)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"a.yaml", "./a", "../a/b.yaml", "a b", "..."} {
		if message := CheckFile(file); message != "" {
			t.Errorf("%q: %s", file, message)
		}
	}
	for _, file := range []string{"", "/a", "*.yaml", "a?", "[a]", "https://example.com/a"} {
		if CheckFile(file) == "" {
			t.Errorf("%q: taken", file)
		}
	}
}

func TestEffectiveAudiences(t *testing.T) {
	t.Parallel()
	var s AWSIamConfigSpec
	if diff := cmp.Diff([]string{"id", "sts.amazonaws.com", "kubernetes"}, s.EffectiveAudiences("id")); diff != "" {
		t.Error(diff)
	}
	s.Audiences = []string{"mine"}
	if diff := cmp.Diff([]string{"mine"}, s.EffectiveAudiences("id")); diff != "" {
		t.Error(diff)
	}
}
