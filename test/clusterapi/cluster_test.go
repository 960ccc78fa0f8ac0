package clusterapi_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cloudinit"
	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// The harness itself: a cluster comes up, a change of its control plane reaches
// a machine that joins, and nothing of it is left after its deletion.
func TestLife(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, "life")
			create(t, c, "cluster-"+version+".yaml")

			machine, data := onlyControlPlaneMachine(t, c)
			documents := kubeadm(t, data)
			args := cloudinit.ExtraArgs(documents["ClusterConfiguration"], "apiServer")
			if got := args["audit-log-maxage"]; len(got) != 1 || got[0] != "7" {
				t.Errorf("the API server's flags on the first machine: %v", args)
			}
			workers, err := c.Machines(t.Context(), false)
			if err != nil || len(workers) != 1 {
				t.Fatalf("workers: %d, %v", len(workers), err)
			}

			const path, content, flag = "/etc/kubernetes/added", "added\n", "audit-log-maxbackup"
			started := time.Now()
			change(t, c, func(spec *bootstrapv1.KubeadmConfigSpec) {
				spec.Files = append(spec.Files, bootstrapv1.File{Path: path, Content: content})
				value := "3"
				server := &spec.ClusterConfiguration.APIServer
				server.ExtraArgs = append(server.ExtraArgs, bootstrapv1.Arg{Name: flag, Value: &value})
			})
			if err := c.WaitRolledOut(within(t)); err != nil {
				t.Fatal(err)
			}
			t.Logf("rolled out in %s", time.Since(started).Round(time.Second))
			joined, data := onlyControlPlaneMachine(t, c)
			if joined == machine {
				t.Errorf("machine %s was not replaced", machine)
			}
			if kubeadm(t, data)["JoinConfiguration"] == nil {
				t.Errorf("machine %s did not join", joined)
			}
			if file := data.File(path); file == nil || file.Content != content {
				t.Errorf("machine %s was given %+v", joined, file)
			}
			config, err := c.KubeadmConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			args = cloudinit.ExtraArgs(config, "apiServer")
			if len(args["audit-log-maxage"]) != 1 || len(args[flag]) != 1 {
				t.Errorf("the API server's flags in kubeadm-config: %v", args)
			}

			started = time.Now()
			if err := c.Delete(within(t)); err != nil {
				t.Fatal(err)
			}
			t.Logf("deleted in %s", time.Since(started).Round(time.Second))
		})
	}
}

// Cluster API's webhooks are there, and refuse what they should.
func TestWebhooksRefuse(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "refused")
	for _, version := range []string{"v1beta1", "v1beta2"} {
		manifests := string(fixture(t, "cluster-"+version+".yaml", c))
		err := c.Apply(t.Context(), []byte(strings.Replace(manifests, "replicas: 1", "replicas: 2", 1)))
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "even number") {
			t.Errorf("%s: two control-plane machines: %v", version, err)
		}
	}
}

// create creates a cluster from a file of testdata, and waits until it is
// available.
func create(t *testing.T, c *cluster.Cluster, file string) {
	t.Helper()
	started := time.Now()
	if err := c.Apply(t.Context(), fixture(t, file, c)); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitAvailable(within(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("available in %s", time.Since(started).Round(time.Second))
}

// change changes the configuration of the control plane's machines.
func change(t *testing.T, c *cluster.Cluster, how func(*bootstrapv1.KubeadmConfigSpec)) {
	t.Helper()
	kcp, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := kcp.DeepCopy()
	how(&kcp.Spec.KubeadmConfigSpec)
	if err := c.Management.Client.Patch(t.Context(), kcp, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// onlyControlPlaneMachine returns the name of the one control-plane machine, and
// what it was given.
func onlyControlPlaneMachine(t *testing.T, c *cluster.Cluster) (string, *cloudinit.Config) {
	t.Helper()
	machines, err := c.Machines(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(machines) != 1 {
		t.Fatalf("%d control-plane machines, want 1", len(machines))
	}
	data, err := c.BootstrapData(t.Context(), &machines[0])
	if err != nil {
		t.Fatal(err)
	}
	return machines[0].Name, data
}

// kubeadm returns the documents of kubeadm's configuration, by kind.
func kubeadm(t *testing.T, data *cloudinit.Config) map[string]map[string]any {
	t.Helper()
	documents, err := data.Kubeadm()
	if err != nil {
		t.Fatal(err)
	}
	return documents
}
