package render

import (
	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/spec"
)

// testSpec is a cluster in a partition, with one role, one user and one group
// each. It has defaults filled in, as spec.Load returns it.
func testSpec(partition, region string, backends ...string) *spec.Spec {
	cluster := &v1alpha1.Cluster{}
	cluster.Name = "edge"
	cluster.Spec.KubernetesVersion = "1.36"
	cluster.Spec.ControlPlaneConfiguration.Count = 3
	cfg := &v1alpha1.AWSIamConfig{Spec: v1alpha1.AWSIamConfigSpec{
		AWSRegion:   region,
		Partition:   partition,
		BackendMode: backends,
		Tokens:      []string{v1alpha1.TokenPresigned},
		MapRoles: []v1alpha1.MapRole{{
			RoleARN:  "arn:" + partition + ":iam::111122223333:role/team/Developers",
			Username: "dev:{{SessionName}}",
			Groups:   []string{"platform:view"},
		}},
		MapUsers: []v1alpha1.MapUser{{
			UserARN:  "arn:" + partition + ":iam::444455556666:user/alice",
			Username: "alice",
			Groups:   []string{"system:masters"},
		}},
		Server: v1alpha1.ServerSpec{Implementation: v1alpha1.ImplementationCapiam},
		Client: v1alpha1.ClientSpec{Command: v1alpha1.ClientAWSIAMAuthenticator},
	}}
	return &spec.Spec{Name: "edge", Namespace: "default", Cluster: cluster, IAM: cfg}
}

// testInput is a complete Input. The keys are no keys: nothing here looks into
// them.
func testInput(s *spec.Spec) Input {
	return Input{
		Spec:      s,
		ClusterID: "6f0b6a5e-0d0c-4a5e-9a55-3f8f8e1c2d11",
		Image:     "registry.example.com/capiam/authenticator:v1.0.0@sha256:0000000000000000000000000000000000000000000000000000000000000000",
		Webhook: Webhook{
			CAPEM: []byte("certificate of the authenticator's CA\n"),
			Leaf:  pki.KeyPair{CertPEM: []byte("certificate of the authenticator\n"), KeyPEM: []byte("key of the authenticator\n")},
		},
		APIServer: Endpoint{URL: "https://edge.example.com:6443", CAPEM: []byte("certificate of the cluster's CA\n")},
		Admin:     pki.KeyPair{CertPEM: []byte("certificate of the administrator\n"), KeyPEM: []byte("key of the administrator\n")},
	}
}

// everything is an Input with all that a spec can say.
func everything() Input {
	s := testSpec("aws", "eu-west-1", v1alpha1.BackendEKSConfigMap)
	s.Cluster.Spec.ControlPlaneConfiguration.Endpoint = &v1alpha1.Endpoint{Host: "192.0.2.10"}
	s.Cluster.Spec.ControlPlaneConfiguration.Taints = []v1alpha1.Taint{
		// Each would be something else than a string if pasted into YAML.
		{Key: "dedicated", Value: "true", Effect: "NoSchedule"},
		{Key: "example.com/rack", Value: "1e3", Effect: "NoExecute"},
		{Key: "y", Value: "", Effect: "NoSchedule"},
	}
	s.Cluster.Spec.ClusterNetwork.Pods.CIDRBlocks = []string{"10.244.0.0/16"}
	s.Cluster.Spec.ClusterNetwork.Services.CIDRBlocks = []string{"10.96.0.0/12"}
	s.Cluster.Spec.ProxyConfiguration = &v1alpha1.ProxyConfiguration{
		HTTPProxy: "http://proxy.example.com:3128", HTTPSProxy: "http://proxy.example.com:3128",
		NoProxy: []string{".example.com", "localhost"},
	}
	s.Cluster.Spec.RegistryMirrorConfiguration = &v1alpha1.RegistryMirrorConfiguration{Endpoint: "mirror.example.com", Port: "5000"}
	s.Local = &v1alpha1.LocalDatacenterConfig{}
	s.Local.Spec.GroupBindings = []v1alpha1.GroupBinding{
		{Group: "capiam:edit", ClusterRole: "edit"},
		{Group: "arn:aws:iam::111122223333:group/Ops & Co", ClusterRole: "admin"},
	}
	s.IAM.Spec.MapAccounts = []string{"000011112222"}
	s.IAM.Spec.SSORoles = []v1alpha1.SSORole{{
		AccountID: "111122223333", PermissionSetName: "Admin", Username: "sso:{{SessionName}}", Groups: []string{"capiam:edit"},
	}}
	s.IAM.Spec.Tokens = []string{v1alpha1.TokenPresigned, v1alpha1.TokenJWT}
	s.IAM.Spec.TokenIssuers = []v1alpha1.TokenIssuer{{
		IssuerURL: "https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws", AccountID: "111122223333",
	}}
	s.IAM.Spec.Client.Command = v1alpha1.ClientCapiam
	in := testInput(s)
	in.Client = Client{
		Command:     "/opt/capiam/bin/capiam",
		Env:         []kubeconfig.EnvVar{{Name: "AWS_CONFIG_FILE", Value: "/home/user/edge/aws-config"}},
		InstallHint: "run make build",
	}
	in.Webhook.URL = "https://127.0.0.1:31362/authenticate"
	return in
}
