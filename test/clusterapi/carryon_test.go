package clusterapi_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client/config"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/clusterapi/management"
)

// A create that is interrupted while it waits is carried on by the same command.
// What capiam then shows of the cluster is what there is, and `clusterctl move`
// takes all of it along.
//
// The management cluster that the cluster is moved to plays its own API server,
// too.
func TestCarryOnAndMove(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "moved")
	k := newCapiam(t, c)
	to := target.get(t)
	k.workload = to.Kubeconfig
	spec := k.spec("admin", fixture(t, "cluster-v1beta2.yaml", c))

	interruptCreate(t, k, spec)
	if _, err := c.ControlPlane(t.Context()); err != nil {
		t.Fatalf("what was made is not kept: %v", err)
	}
	if err := c.WaitAvailable(within(t)); err != nil {
		t.Fatal(err)
	}
	k.run("create", "cluster", "-f", spec, "--wait=false")

	user := k.run("get", "kubeconfig", c.Name, "-n", c.Namespace)
	file, err := os.ReadFile(filepath.Join(k.dir, c.Name, c.Name+"-aws.kubeconfig"))
	if err != nil || user != string(file) {
		t.Errorf("the users' kubeconfig is not the one in the file, %v:\n%s", err, user)
	}
	wantEndpoint(t, c, user)
	wantEndpoint(t, c, k.run("get", "kubeconfig", c.Name, "-n", c.Namespace, "--admin"))
	if got := k.run("get", "mappings", c.Name, "-n", c.Namespace); !strings.Contains(got, "arn:aws:iam::111122223333:role/admin") {
		t.Errorf("mappings:\n%s", got)
	}
	tree, _, err := k.try("describe", "cluster", c.Name, "-n", c.Namespace)
	if err == nil {
		t.Error("a cluster whose authenticator runs nowhere is ready")
	}
	keys := secretsOf(t, c)
	for _, want := range []string{
		"✗ Cluster/moved", "✔ KubeadmControlPlane/moved-control-plane: 1 of 1 machines ready", "✔ Machine/",
		"cluster ID " + keys.clusterID, "✔ APIServers: token webhook enabled", "✔ Certificate: until ",
		"✗ Authenticator: DaemonSet kube-system/aws-iam-authenticator", "✔ Mappings: 1 roles",
	} {
		if !strings.Contains(tree, want) {
			t.Errorf("the tree lacks %q:\n%s", want, tree)
		}
	}

	move(t, c, to)
	moved := &cluster.Cluster{Management: to, Namespace: c.Namespace, Name: c.Name}
	if diff := cmp.Diff(keys, secretsOf(t, moved), cmp.AllowUnexported(kept{})); diff != "" {
		t.Errorf("after the move: -want +got\n%s", diff)
	}
	playInfrastructure(t, moved)
	k.management = to.Kubeconfig
	if plan := k.run("upgrade", "cluster", "-f", spec, "--dry-run"); plan != "" {
		t.Errorf("after the move there is something to change:\n%s", plan)
	}
	k.run("upgrade", "cluster", "-f", spec, "--wait=false")
	if diff := cmp.Diff(keys, secretsOf(t, moved), cmp.AllowUnexported(kept{})); diff != "" {
		t.Errorf("after an upgrade: -want +got\n%s", diff)
	}
	for _, name := range secretNames(c) {
		if err := to.Client.Get(t.Context(), ctrlclient.ObjectKey{Namespace: "eksa-system", Name: name}, &corev1.Secret{}); err != nil {
			t.Error(err)
		}
	}
}

// interruptCreate presses Ctrl-C once create waits for the control plane.
func interruptCreate(t *testing.T, k *capiam, spec string) {
	t.Helper()
	cmd := k.command(within(t), "create", "cluster", "-f", spec)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "► Wait for the control plane") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait()
	for _, want := range []string{"► Wait for the control plane", "✗ Wait for the control plane", "run the same command again"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("an interrupted create does not say %q", want)
		}
	}
	if err == nil || t.Failed() {
		t.Fatalf("an interrupted create: %v\n%s", err, said.String())
	}
}

// wantEndpoint checks that a kubeconfig leads to the cluster.
func wantEndpoint(t *testing.T, c *cluster.Cluster, kubeconfig string) {
	t.Helper()
	cfg, err := clientcmd.Load([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.WorkloadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	current := cfg.Contexts[cfg.CurrentContext]
	if current == nil || cfg.Clusters[current.Cluster].Server != want.Host {
		t.Errorf("the kubeconfig does not lead to %s:\n%s", want.Host, kubeconfig)
	}
}

// kept is what a management cluster keeps of a cluster's logins.
type kept struct {
	clusterID               string
	cert, key, kubeconfigID string
	staticPod               string
}

// secretsOf reads the Secrets beside a Cluster.
func secretsOf(t *testing.T, c *cluster.Cluster) kept {
	t.Helper()
	var secrets [2]corev1.Secret
	for i, name := range secretNames(c) {
		if err := c.Management.Client.Get(t.Context(), ctrlclient.ObjectKey{Namespace: c.Namespace, Name: name}, &secrets[i]); err != nil {
			t.Fatal(err)
		}
	}
	var bootstrap corev1.Secret
	if err := c.Management.Client.Get(t.Context(), ctrlclient.ObjectKey{Namespace: c.Namespace, Name: bootstrapName(c)}, &bootstrap); err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.Load(secrets[1].Data["value"])
	if err != nil {
		t.Fatal(err)
	}
	k := kept{
		clusterID: secrets[0].Annotations["capiam.dev/cluster-id"],
		cert:      string(secrets[0].Data["cert.pem"]), key: string(secrets[0].Data["key.pem"]),
		staticPod: string(bootstrap.Data["pod.yaml"]),
	}
	for _, user := range cfg.AuthInfos {
		k.kubeconfigID = strings.Join(user.Exec.Args, " ")
	}
	if k.clusterID == "" || !strings.Contains(k.kubeconfigID, k.clusterID) {
		t.Fatalf("cluster ID %q, and the kubeconfig calls %q", k.clusterID, k.kubeconfigID)
	}
	return k
}

// move is `clusterctl move` of a cluster's namespace.
func move(t *testing.T, c *cluster.Cluster, to *management.Management) {
	t.Helper()
	ctx := within(t)
	cfg, err := config.New(ctx, "", config.InjectReader(config.NewMemoryReader()))
	if err != nil {
		t.Fatal(err)
	}
	clusterctl, err := client.New(ctx, "", client.InjectConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	if err := clusterctl.Move(ctx, client.MoveOptions{
		FromKubeconfig: client.Kubeconfig{Path: c.Management.Kubeconfig},
		ToKubeconfig:   client.Kubeconfig{Path: to.Kubeconfig},
		Namespace:      c.Namespace,
	}); err != nil {
		t.Fatal(err)
	}
}

// playInfrastructure says of a cluster that was moved what its provider would:
// its infrastructure is there. It waits until Cluster API has found the control
// plane again, as clusterctl moves no status.
func playInfrastructure(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := c.Management.Wait(within(t), func(ctx context.Context) error {
		for _, kind := range []string{"DevCluster", "DevMachine"} {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta2", Kind: kind + "List"})
			if err := c.Management.Client.List(ctx, list, ctrlclient.InNamespace(c.Namespace)); err != nil {
				return err
			}
			for i := range list.Items {
				status := ctrlclient.RawPatch(types.MergePatchType, []byte(`{"status":{"initialization":{"provisioned":true}}}`))
				if err := c.Management.Client.Status().Patch(ctx, &list.Items[i], status); err != nil {
					return err
				}
			}
		}
		kcp, err := c.ControlPlane(ctx)
		if err != nil {
			return err
		}
		if done := kcp.Status.Initialization.ControlPlaneInitialized; done == nil || !*done {
			return fmt.Errorf("KubeadmControlPlane %s is not initialized", kcp.Name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
