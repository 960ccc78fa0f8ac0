package render

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/mapping"
)

// find decodes the one object of a kind and name.
func find[T any](t *testing.T, out *Output, kind, name string) *T {
	t.Helper()
	for _, u := range out.Objects {
		if u.GetKind() != kind || u.GetName() != name {
			continue
		}
		var o T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
			t.Fatal(err)
		}
		return &o
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

func render(t *testing.T, in Input) *Output {
	t.Helper()
	out, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDaemonSetIsEKSAnywheres holds on to what tools and people of EKS
// Anywhere's clusters rely on.
func TestDaemonSetIsEKSAnywheres(t *testing.T) {
	t.Parallel()
	out := render(t, testInput(testSpec("aws-us-gov", "us-gov-west-1", v1alpha1.BackendEKSConfigMap, v1alpha1.BackendCRD)))
	ds := find[appsv1.DaemonSet](t, out, "DaemonSet", "aws-iam-authenticator")
	if ds.Namespace != "kube-system" {
		t.Errorf("namespace %s", ds.Namespace)
	}
	labels := map[string]string{"k8s-app": "aws-iam-authenticator"}
	if d := cmp.Diff(labels, ds.Spec.Selector.MatchLabels); d != "" {
		t.Errorf("selector -want +got\n%s", d)
	}
	if ds.Labels["k8s-app"] != "aws-iam-authenticator" || ds.Spec.Template.Labels["k8s-app"] != "aws-iam-authenticator" {
		t.Error("label k8s-app is missing")
	}
	pod := ds.Spec.Template.Spec
	if !pod.HostNetwork || pod.ServiceAccountName != "aws-iam-authenticator" {
		t.Errorf("host network %v, service account %s", pod.HostNetwork, pod.ServiceAccountName)
	}
	if d := cmp.Diff(map[string]string{"node-role.kubernetes.io/control-plane": ""}, pod.NodeSelector); d != "" {
		t.Errorf("node selector -want +got\n%s", d)
	}
	args := []string{
		"server",
		"--backend-mode=EKSConfigMap,CRD",
		"--partition=aws-us-gov",
		"--config=/etc/aws-iam-authenticator/config.yaml",
		"--state-dir=/var/aws-iam-authenticator",
		"--generate-kubeconfig=/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml",
		"--kubeconfig-pregenerated=true",
	}
	if d := cmp.Diff(args, pod.Containers[0].Args); d != "" {
		t.Errorf("arguments -want +got\n%s", d)
	}
	if !hasEnv(pod.Containers[0], "AWS_REGION", "us-gov-west-1") {
		t.Error("AWS_REGION is not set")
	}
}

func hasEnv(c corev1.Container, name, value string) bool {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value == value
		}
	}
	return false
}

// TestPodSecurity checks what the Pod Security level "restricted" asks for,
// apart from the host network, and from the node's directory with the container
// that gives it to the server (see TestSnapshotOutlivesThePod).
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	pod := find[appsv1.DaemonSet](t, render(t, everything()), "DaemonSet", ReleaseName).Spec.Template.Spec
	s := pod.SecurityContext
	if s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 || s.FSGroup == nil {
		t.Errorf("user: %+v", s)
	}
	if s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Error("no seccomp profile")
	}
	c := pod.Containers[0]
	if c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation ||
		len(c.SecurityContext.Capabilities.Add) > 0 || c.SecurityContext.Capabilities.Drop[0] != "ALL" ||
		!*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("container: %+v", c.SecurityContext)
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil && v.Name != mappingsVolume {
			t.Errorf("volume %s is a path of the node", v.Name)
		}
	}
	if len(pod.InitContainers) != 1 {
		t.Fatalf("there are %d init containers", len(pod.InitContainers))
	}
	own := pod.InitContainers[0].SecurityContext
	if *own.AllowPrivilegeEscalation || *own.Privileged || !*own.ReadOnlyRootFilesystem ||
		!slices.Equal(own.Capabilities.Drop, []corev1.Capability{"ALL"}) || !slices.Equal(own.Capabilities.Add, []corev1.Capability{"CHOWN"}) {
		t.Errorf("init container: %+v", own)
	}
	if pod.PriorityClassName != "system-node-critical" {
		t.Errorf("priority class %q", pod.PriorityClassName)
	}
	for name, p := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
		// The health server listens on the loopback interface only.
		if p == nil || p.HTTPGet.Host != "127.0.0.1" || p.HTTPGet.Port.IntValue() != 21363 {
			t.Errorf("%s probe: %+v", name, p)
		}
	}
	if c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Error("no resources are asked for")
	}
}

// TestKeyIsReadableByAnyUser: a changed user ID of the image must not take the
// authenticator down.
func TestKeyIsReadableByAnyUser(t *testing.T) {
	t.Parallel()
	pod := find[appsv1.DaemonSet](t, render(t, testInput(testSpec("aws", "us-west-2", "EKSConfigMap"))), "DaemonSet", ReleaseName).Spec.Template.Spec
	for _, v := range pod.Volumes {
		if v.Name != "state" {
			continue
		}
		if mode := *v.Secret.DefaultMode; mode != 0o440 {
			t.Errorf("mode %o, the group has to be able to read and others not", mode)
		}
		return
	}
	t.Error("the certificate is not mounted")
}

func TestTaintsStayStrings(t *testing.T) {
	t.Parallel()
	in := everything()
	tolerations := find[appsv1.DaemonSet](t, render(t, in), "DaemonSet", ReleaseName).Spec.Template.Spec.Tolerations
	for _, taint := range in.Spec.Cluster.Spec.ControlPlaneConfiguration.Taints {
		tolerated := false
		for i := range tolerations {
			tolerated = tolerated || tolerations[i] == corev1.Toleration{
				Key: taint.Key, Operator: corev1.TolerationOpEqual, Value: taint.Value, Effect: corev1.TaintEffect(taint.Effect),
			}
		}
		if !tolerated {
			t.Errorf("taint %+v is not tolerated", taint)
		}
	}
}

// TestChecksum: a change of the configuration has to restart the pods, a new
// certificate must not.
func TestChecksum(t *testing.T) {
	t.Parallel()
	checksum := func(in Input) string {
		return find[appsv1.DaemonSet](t, render(t, in), "DaemonSet", ReleaseName).Spec.Template.Annotations["checksum/config"]
	}
	in := testInput(testSpec("aws", "us-west-2", v1alpha1.BackendEKSConfigMap))
	before := checksum(in)
	renewed := in
	renewed.Webhook.Leaf.CertPEM = []byte("another certificate\n")
	if checksum(renewed) != before {
		t.Error("a renewed certificate restarts the pods")
	}
	changed := in
	changed.ClusterID = "another"
	if checksum(changed) == before {
		t.Error("a changed configuration does not restart the pods")
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	aws := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"aws-auth"}, Verbs: []string{"get", "list", "watch"}},
	}
	crd := []rbacv1.PolicyRule{
		{APIGroups: []string{"iamauthenticator.k8s.aws"}, Resources: []string{"iamidentitymappings"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"iamauthenticator.k8s.aws"}, Resources: []string{"iamidentitymappings/status"}, Verbs: []string{"patch", "update"}},
	}
	events := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}}
	for _, tt := range []struct {
		backends []string
		want     []rbacv1.PolicyRule
	}{
		{[]string{"EKSConfigMap"}, append(aws[:1:1], events)},
		{[]string{"CRD"}, append(crd[:2:2], events)},
		{[]string{"CRD", "EKSConfigMap"}, append(append(aws[:1:1], crd...), events)},
	} {
		role := find[rbacv1.ClusterRole](t, render(t, testInput(testSpec("aws", "us-west-2", tt.backends...))), "ClusterRole", ReleaseName)
		if d := cmp.Diff(tt.want, role.Rules); d != "" {
			t.Errorf("%v: -want +got\n%s", tt.backends, d)
		}
	}
}

func TestAWSAuthHoldsTheSpecsMappings(t *testing.T) {
	t.Parallel()
	in := everything()
	cm := find[corev1.ConfigMap](t, render(t, in), "ConfigMap", AWSAuthName)
	table, findings := mapping.Parse(cm.Data)
	if len(findings) > 0 {
		t.Errorf("findings: %v", findings)
	}
	if d := cmp.Diff(in.Spec.Mappings(), table.Mappings()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestMirrored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ image, endpoint, port, want string }{
		{"a.example.com/b/c:v1@sha256:00", "", "", "a.example.com/b/c:v1@sha256:00"},
		{"a.example.com/b/c:v1@sha256:00", "m.example.com", "", "m.example.com/b/c:v1@sha256:00"},
		{"a.example.com/b/c:v1", "m.example.com", "443", "m.example.com/b/c:v1"},
		{"a.example.com:5000/b/c", "m.example.com", "5000", "m.example.com:5000/b/c"},
		{"localhost/c", "2001:db8::1", "5000", "[2001:db8::1]:5000/c"},
		{"b/c:v1", "m.example.com", "", "m.example.com/b/c:v1"},
		{"c", "m.example.com", "", "m.example.com/c"},
	} {
		got := mirrored(tt.image, &v1alpha1.RegistryMirrorConfiguration{Endpoint: tt.endpoint, Port: tt.port})
		if got != tt.want {
			t.Errorf("%s by %s:%s: %s, want %s", tt.image, tt.endpoint, tt.port, got, tt.want)
		}
	}
}

func TestIdentityMappingNames(t *testing.T) {
	t.Parallel()
	name := func(arn string) string {
		t.Helper()
		objects, err := IdentityMappings(mapping.Mappings{Roles: []mapping.Entry{{ARN: arn, Username: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		return objects[0].GetName()
	}
	first := name("arn:aws:iam::111122223333:role/Team+Lead_1")
	if first != name("arn:aws:iam::111122223333:role/with/path/team+lead_1") {
		t.Error("another spelling of the same role has another name")
	}
	if first == name("arn:aws:iam::444455556666:role/Team+Lead_1") || first == name("arn:aws:iam::111122223333:user/Team+Lead_1") {
		t.Error("two principals have one name")
	}
	if !strings.HasPrefix(first, "role-team-lead-1-") {
		t.Errorf("%s is hard to read", first)
	}
	if long := name("arn:aws:iam::111122223333:role/" + strings.Repeat("a", 64)); len(long) > 63 {
		t.Errorf("%s is too long for a label", long)
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"no spec", func(in *Input) { in.Spec = nil }, "no spec"},
		{"no cluster ID", func(in *Input) { in.ClusterID = "" }, "no cluster ID"},
		{"another cluster ID", func(in *Input) { in.Spec.IAM.Spec.ClusterID = "other" }, "keeps its ID"},
		{"no image", func(in *Input) { in.Image = "" }, "spec.server.image"},
		{"no certificate", func(in *Input) { in.Webhook.Leaf.KeyPEM = nil }, "no certificate"},
		{"JWTs without a server for them", func(in *Input) {
			in.Spec.IAM.Spec.Server.Implementation = v1alpha1.ImplementationAWSIAMAuthenticator
			in.Spec.IAM.Spec.Tokens = []string{v1alpha1.TokenJWT}
		}, "knows no JWTs"},
		{"a value the chart refuses", func(in *Input) { in.Spec.IAM.Spec.BackendMode = []string{"eksconfigmap"} }, "backendModes"},
		{"accounts as objects", func(in *Input) {
			in.Spec.IAM.Spec.BackendMode = []string{v1alpha1.BackendCRD}
			in.Spec.IAM.Spec.MapAccounts = []string{"444455556666"}
		}, "mapAccounts"},
		{"SSO roles as objects", func(in *Input) {
			in.Spec.IAM.Spec.BackendMode = []string{v1alpha1.BackendCRD}
			in.Spec.IAM.Spec.SSORoles = []v1alpha1.SSORole{{AccountID: "444455556666", PermissionSetName: "Admin", Username: "x"}}
		}, "permission set Admin"},
		{"an unknown client", func(in *Input) { in.Spec.IAM.Spec.Client.Command = "curl" }, `unknown client "curl"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := testInput(testSpec("aws", "us-west-2", v1alpha1.BackendEKSConfigMap))
			tt.edit(&in)
			_, err := Render(in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "key of the") {
				t.Errorf("error holds a key: %v", err)
			}
		})
	}
}

func TestJWTOnly(t *testing.T) {
	t.Parallel()
	in := everything()
	in.Spec.IAM.Spec.Tokens = []string{v1alpha1.TokenJWT}
	for _, f := range render(t, in).Files {
		if f.Path == kubeconfig.UserFile("edge") && !strings.Contains(string(f.Data), "--jwt") {
			t.Errorf("a presigned token is asked for, which nobody takes:\n%s", f.Data)
		}
	}
}

func TestLocalIssuersReplaceTheSpecs(t *testing.T) {
	t.Parallel()
	in := everything()
	in.TokenIssuers = []v1alpha1.TokenIssuer{{IssuerURL: "https://local.tokens.sts.global.api.aws", AccountID: "123456789012"}}
	f, err := ServerConfig(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Server.TokenIssuers) != 1 || f.Server.TokenIssuers[0].AccountID != "123456789012" {
		t.Errorf("issuers %v", f.Server.TokenIssuers)
	}
	if d := cmp.Diff([]string{in.ClusterID, "sts.amazonaws.com", "kubernetes"}, f.Server.Audiences); d != "" {
		t.Errorf("audiences -want +got\n%s", d)
	}
}

// TestOrder: what others need comes before them.
func TestOrder(t *testing.T) {
	t.Parallel()
	out := render(t, testInput(testSpec("aws", "us-west-2", v1alpha1.BackendCRD)))
	place := map[string]int{}
	for i, u := range out.Objects {
		if _, seen := place[u.GetKind()]; !seen {
			place[u.GetKind()] = i
		}
	}
	if !(place["CustomResourceDefinition"] < place["IAMIdentityMapping"] && place["ServiceAccount"] < place["DaemonSet"] && place["Secret"] < place["DaemonSet"]) {
		t.Errorf("order %v", place)
	}
	if got := len(out.CRDs) + len(out.Release) + len(out.Mappings); got != len(out.Objects) {
		t.Errorf("%d objects in all, %d in parts", len(out.Objects), got)
	}
}
