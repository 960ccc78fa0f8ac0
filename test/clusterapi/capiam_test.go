package clusterapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/test/clusterapi/cloudinit"
	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/programs"
)

// What a control-plane machine has if its API server asks the authenticator.
// EKS Anywhere's clusters have the same.
const (
	webhookFlag   = "authentication-token-webhook-config-file"
	webhookInside = "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml"
	webhookFile   = "/var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml"
	bootstrapFile = "/etc/kubernetes/manifests/aws-iam-authenticator-bootstrap.yaml"
)

const specHead = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  kubernetesVersion: "1.36"
  datacenterRef: {kind: ClusterAPIDatacenterConfig, name: dc}
  IDENTITY
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: ClusterAPIDatacenterConfig
metadata: {name: dc, namespace: NAMESPACE}
spec: {}
---
`

const specIAM = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata: {name: iam, namespace: NAMESPACE}
spec:
  awsRegion: eu-west-1
  backendMode: [EKSConfigMap]
  mapRoles:
    - roleARN: arn:aws:iam::111122223333:role/admin
      username: USERNAME
      groups: [system:masters]
---
`

// capiam is the command line, in a directory of the test's own.
type capiam struct {
	t   *testing.T
	c   *cluster.Cluster
	dir string
	// management is the kubeconfig of the management cluster, the shared one's
	// unless a test says otherwise.
	management string
	// workload is the kubeconfig of another API server that plays the cluster's
	// own: the in-memory one takes no server-side apply.
	workload string
}

// newCapiam is the command line for a cluster. What it keeps outside the
// cluster's namespace is removed at the end.
func newCapiam(t *testing.T, c *cluster.Cluster) *capiam {
	t.Cleanup(func() {
		for _, name := range secretNames(c) {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "eksa-system", Name: name}}
			if err := client.IgnoreNotFound(c.Management.Client.Delete(context.Background(), s)); err != nil {
				t.Error(err)
			}
		}
	})
	return &capiam{t: t, c: c, dir: t.TempDir(), management: c.Management.Kubeconfig}
}

// secretNames are those of the Secrets in which a management cluster keeps what
// is capiam's.
func secretNames(c *cluster.Cluster) []string {
	return []string{c.Name + "-aws-iam-authenticator-ca", c.Name + "-aws-iam-kubeconfig"}
}

// bootstrapName is the Secret with the static pod, which is in the Cluster's own
// namespace alone.
func bootstrapName(c *cluster.Cluster) string { return c.Name + "-aws-iam-authenticator-bootstrap" }

// spec writes a spec, with IAM if there is a user name, and with the objects.
func (k *capiam) spec(username string, objects []byte) string {
	k.t.Helper()
	text := strings.Replace(specHead, "IDENTITY", "identityProviderRefs: [{kind: AWSIamConfig, name: iam}]", 1) + specIAM
	if username == "" {
		text = strings.Replace(specHead, "IDENTITY", "", 1)
	}
	text = strings.NewReplacer("NAMESPACE", k.c.Namespace, "USERNAME", username, "NAME", k.c.Name).Replace(text)
	file := filepath.Join(k.dir, "spec.yaml")
	if err := os.WriteFile(file, append([]byte(text), objects...), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return file
}

// command is the command line on the management cluster.
func (k *capiam) command(ctx context.Context, args ...string) *exec.Cmd {
	k.t.Helper()
	args = append(args, "--kubeconfig", k.management)
	if k.workload != "" && args[0] != "delete" && args[1] != "kubeconfig" {
		args = append(args, "--workload-kubeconfig", k.workload)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(programs.Dir(k.t), "capiam"), args...)
	cmd.Dir = k.dir
	cmd.Env = []string{"HOME=" + k.dir, "PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true"}
	return cmd
}

// try runs the command line.
func (k *capiam) try(args ...string) (stdout, stderr string, err error) {
	k.t.Helper()
	cmd := k.command(within(k.t), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// run runs the command line, which has to succeed.
func (k *capiam) run(args ...string) (stdout string) {
	k.t.Helper()
	stdout, stderr, err := k.try(args...)
	if err != nil {
		k.t.Fatalf("capiam %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// wantAsking checks that a machine was given what makes its API server ask the
// authenticator. The flag of a machine that joins is in kubeadm-config.
func wantAsking(t *testing.T, c *cluster.Cluster, machine string, data *cloudinit.Config) {
	t.Helper()
	file := data.File(webhookFile)
	if file == nil {
		t.Fatalf("machine %s has no %s", machine, webhookFile)
	}
	if file.Owner != "root:root" || file.Permissions != "0640" {
		t.Errorf("machine %s: %s is %s's with mode %s", machine, webhookFile, file.Owner, file.Permissions)
	}
	for _, want := range []string{"https://localhost:21362/authenticate", "certificate-authority-data: "} {
		if !strings.Contains(file.Content, want) {
			t.Errorf("machine %s: %s lacks %q", machine, webhookFile, want)
		}
	}
	pod := data.File(bootstrapFile)
	switch {
	case pod == nil:
		t.Errorf("machine %s has no %s", machine, bootstrapFile)
	case pod.Owner != "root:root" || pod.Permissions != "0600" || !strings.Contains(pod.Content, "kind: Pod") || !strings.Contains(pod.Content, "--until-ready="):
		t.Errorf("machine %s: %s is %s's with mode %s:\n%s", machine, bootstrapFile, pod.Owner, pod.Permissions, pod.Content)
	}
	documents := kubeadm(t, data)
	configuration := documents["ClusterConfiguration"]
	if documents["JoinConfiguration"] != nil {
		var err error
		if configuration, err = c.KubeadmConfig(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	args := cloudinit.ExtraArgs(configuration, "apiServer")
	if got := args[webhookFlag]; len(got) != 1 || got[0] != webhookInside {
		t.Errorf("machine %s: the API server's flags are %v", machine, args)
	}
	volumes, _ := json.Marshal(configuration)
	for _, want := range []string{`"/var/lib/kubeadm/aws-iam-authenticator/"`, `"/etc/kubernetes/aws-iam-authenticator/"`} {
		if !bytes.Contains(volumes, []byte(want)) {
			t.Errorf("machine %s: %s is not among the API server's volumes", machine, want)
		}
	}
}

// A spec brings its own objects, of either version of Cluster API. Its first
// machine and one that joins have what they need, and the same again changes
// nothing.
func TestCreate(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, "create-"+version)
			k := newCapiam(t, c)
			objects := fixture(t, "cluster-"+version+".yaml", c)
			k.run("create", "cluster", "-f", k.spec("admin", objects), "--wait=false")
			if err := c.WaitAvailable(within(t)); err != nil {
				t.Fatal(err)
			}
			machine, data := onlyControlPlaneMachine(t, c)
			wantAsking(t, c, machine, data)
			// The user's own settings are as they were.
			if got := cloudinit.ExtraArgs(kubeadm(t, data)["ClusterConfiguration"], "apiServer")["audit-log-maxage"]; len(got) != 1 || got[0] != "7" {
				t.Errorf("audit-log-maxage is %v", got)
			}
			for _, namespace := range []string{"eksa-system", c.Namespace} {
				wantCA(t, c, namespace)
			}

			before, err := c.ControlPlane(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// The in-memory API server takes no chart, which comes after
			// everything on the management cluster.
			_, stderr, _ := k.try("create", "cluster", "-f", k.spec("admin", objects), "--wait=false")
			if !strings.Contains(stderr, "✔ Have the API servers ask the authenticator") {
				t.Errorf("the same again:\n%s", stderr)
			}
			after, err := c.ControlPlane(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// With v1beta1 its generation does grow, as that is compared before
			// what is applied is converted.
			if diff := cmp.Diff(before.Spec, after.Spec); diff != "" {
				t.Errorf("the same again changed the KubeadmControlPlane: -before +after\n%s", diff)
			}

			// Somebody rolls the control plane.
			change(t, c, func(spec *bootstrapv1.KubeadmConfigSpec) {
				spec.Files = append(spec.Files, bootstrapv1.File{Path: "/etc/motd", Content: "changed"})
			})
			if err := c.WaitRolledOut(within(t)); err != nil {
				t.Fatal(err)
			}
			joined, data := onlyControlPlaneMachine(t, c)
			if joined == machine || kubeadm(t, data)["JoinConfiguration"] == nil {
				t.Errorf("machine %s did not join in place of %s", joined, machine)
			}
			wantAsking(t, c, joined, data)

			k.run("delete", "cluster", c.Name, "-n", c.Namespace)
			if _, err := c.ControlPlane(t.Context()); !apierrors.IsNotFound(err) {
				t.Errorf("the control plane is still there: %v", err)
			}
			wantNoSecrets(t, c)
		})
	}
}

// wantNoSecrets checks that capiam keeps nothing for a cluster.
func wantNoSecrets(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for _, namespace := range []string{"eksa-system", c.Namespace} {
		for _, name := range append(secretNames(c), bootstrapName(c)) {
			err := c.Management.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &corev1.Secret{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("Secret %s/%s: %v, want none", namespace, name, err)
			}
		}
	}
}

// wantCA checks the Secret with the authenticator's CA.
func wantCA(t *testing.T, c *cluster.Cluster, namespace string) {
	t.Helper()
	s := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: c.Name + "-aws-iam-authenticator-ca"}
	if err := c.Management.Client.Get(t.Context(), key, s); err != nil {
		t.Error(err)
		return
	}
	if s.Labels["clusterctl.cluster.x-k8s.io/move"] != "true" {
		t.Errorf("Secret %s: labels %v", key, s.Labels)
	}
	if _, err := pki.LoadCA(s.Data["cert.pem"], s.Data["key.pem"]); err != nil {
		t.Errorf("Secret %s: %v", key, err)
	}
}

func generation(t *testing.T, c *cluster.Cluster) int64 {
	t.Helper()
	kcp, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kcp.Generation
}

// IAM authentication is switched on for a cluster that runs without, changed, and
// switched off. Only the first and the last replace machines.
//
// Another API server plays the workload cluster's: here the management cluster's
// own. Machines, control plane and their controllers are the cluster's.
func TestOnChangeOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "later")
	create(t, c, "cluster-v1beta2.yaml")
	before, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, _ := onlyControlPlaneMachine(t, c)
	k := newCapiam(t, c)

	if _, stderr, err := k.try("create", "cluster", "-f", k.spec("admin", nil)); err == nil || !strings.Contains(stderr, "capiam upgrade cluster") {
		t.Errorf("create for a cluster that runs: %v\n%s", err, stderr)
	}

	k.workload = c.Management.Kubeconfig
	// An authenticator that somebody has installed by hand, or EKS Anywhere.
	const clusterID = "11111111-2222-3333-4444-555555555555"
	for _, object := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-iam-authenticator"}},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-iam-authenticator"},
			Data:       map[string]string{"config.yaml": "clusterID: " + clusterID + "\n"},
		},
	} {
		if err := c.Management.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	plan := k.run("upgrade", "cluster", "-f", k.spec("admin", nil), "--dry-run")
	for _, want := range []string{"+ the API servers ask the authenticator", "! the control-plane machine will be replaced by a new one", "+ mapRoles arn:aws:iam::111122223333:role/admin"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	if generation(t, c) != before.Generation {
		t.Error("a dry run changed the KubeadmControlPlane")
	}
	k.run("upgrade", "cluster", "-f", k.spec("admin", nil), "--wait=false")
	if err := c.WaitRolledOut(within(t)); err != nil {
		t.Fatal(err)
	}
	second, data := onlyControlPlaneMachine(t, c)
	if second == first {
		t.Errorf("machine %s was not replaced", first)
	}
	wantAsking(t, c, second, data)

	if got := k.run("get", "kubeconfig", c.Name, "-n", c.Namespace); !strings.Contains(got, clusterID) {
		t.Errorf("the cluster ID that was there was not kept:\n%s", got)
	}

	on := generation(t, c)
	if plan := k.run("upgrade", "cluster", "-f", k.spec("admin", nil), "--dry-run"); plan != "" {
		t.Errorf("the same again would change\n%s", plan)
	}
	if plan := k.run("upgrade", "cluster", "-f", k.spec("boss", nil), "--dry-run"); !strings.Contains(plan, "-> as boss") || strings.Contains(plan, "!") {
		t.Errorf("a new user name would change\n%s", plan)
	}
	k.run("upgrade", "cluster", "-f", k.spec("boss", nil), "--wait=false")
	if got := k.run("get", "mappings", c.Name, "-n", c.Namespace); !strings.Contains(got, "boss") {
		t.Errorf("mappings:\n%s", got)
	}
	dueCertificate(t, c)
	if plan := k.run("upgrade", "cluster", "-f", k.spec("boss", nil), "--dry-run"); !strings.Contains(plan, "certificate is renewed") || strings.Contains(plan, "!") {
		t.Errorf("a certificate that is due would change\n%s", plan)
	}
	k.run("upgrade", "cluster", "-f", k.spec("boss", nil), "--wait=false")
	if got := generation(t, c); got != on {
		t.Errorf("changes of mappings and certificate changed the KubeadmControlPlane: generation %d, then %d", on, got)
	}
	if third, _ := onlyControlPlaneMachine(t, c); third != second {
		t.Errorf("machine %s was replaced", second)
	}

	if _, stderr, err := k.try("delete", "cluster", c.Name, "-n", c.Namespace); err == nil || !strings.Contains(stderr, "was not made by capiam") {
		t.Errorf("delete of a cluster that capiam has not made: %v\n%s", err, stderr)
	}

	off := k.spec("", nil)
	if _, stderr, err := k.try("upgrade", "cluster", "-f", off); err == nil || !strings.Contains(stderr, "--allow-lockout") {
		t.Errorf("switching off without being told to: %v\n%s", err, stderr)
	}
	k.run("upgrade", "cluster", "-f", off, "--allow-lockout")
	after, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Spec, after.Spec); diff != "" {
		t.Errorf("the KubeadmControlPlane is not as it was: -before +after\n%s", diff)
	}
	wantNoSecrets(t, c)
	if files, _ := filepath.Glob(filepath.Join(k.dir, c.Name, "*-aws.kubeconfig")); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	if plan := k.run("upgrade", "cluster", "-f", off, "--dry-run"); plan != "" {
		t.Errorf("switching off again would change\n%s", plan)
	}
}

// dueCertificate gives the authenticator a certificate that is about to end.
func dueCertificate(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	s := &corev1.Secret{}
	if err := c.Management.Client.Get(t.Context(), client.ObjectKey{Namespace: "eksa-system", Name: c.Name + "-aws-iam-authenticator-ca"}, s); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadCA(s.Data["cert.pem"], s.Data["key.pem"])
	if err != nil {
		t.Fatal(err)
	}
	leaf := pki.AuthenticatorLeaf()
	leaf.Lifetime = pki.Backdate / 10 // two thirds of its life are over
	pair, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"data": map[string][]byte{"cert.pem": pair.CertPEM, "key.pem": pair.KeyPEM}})
	if err != nil {
		t.Fatal(err)
	}
	shown := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-iam-authenticator"}}
	if err := c.Management.Client.Patch(t.Context(), shown, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// A flag that is somebody else's is not touched, and neither is anything else.
func TestForeignWebhook(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "foreign")
	k := newCapiam(t, c)
	objects := bytes.Replace(fixture(t, "cluster-v1beta2.yaml", c), []byte("- name: audit-log-maxage"),
		[]byte(fmt.Sprintf("- name: %s\n            value: /etc/other.yaml\n          - name: audit-log-maxage", webhookFlag)), 1)
	_, stderr, err := k.try("create", "cluster", "-f", k.spec("admin", objects), "--wait=false")
	if err == nil || !strings.Contains(stderr, "spec.yaml:") || !strings.Contains(stderr, "extraArgs") || !strings.Contains(stderr, "/etc/other.yaml") {
		t.Errorf("%v\n%s", err, stderr)
	}
	wantNothing(t, c)
}

// wantNothing checks that there is nothing of a cluster on its management
// cluster.
func wantNothing(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if left, err := c.Left(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
	wantNoSecrets(t, c)
}
