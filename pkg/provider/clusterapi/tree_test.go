package clusterapi

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	capitree "sigs.k8s.io/cluster-api/cmd/clusterctl/client/tree"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/tree"
)

// The order in which an object tree gives what belongs to an object changes, so
// this is described several times.
func TestDescribeTree(t *testing.T) {
	t.Parallel()
	s := observed(noMachines, number(2, 2, 1, 1), machine("demo-cp-a"), machine("demo-cp-b", notReady, func(m *clusterv1.Machine) {
		is(m, clusterv1.MachineUpToDateCondition, "False", "NotUpToDate", "* KubeadmConfig is not up-to-date")
	}))
	s.Cluster.CreationTimestamp = seconds(0)
	s.Cluster.UID, s.ControlPlane.UID = "cluster", "kcp"
	s.Cluster.SetGroupVersionKind(clusterv1.GroupVersion.WithKind("Cluster"))
	s.ControlPlane.Spec.Version = "v1.36.3"
	is(s.Cluster, clusterv1.ClusterAvailableCondition, "False", "NotAvailable", "* ControlPlaneAvailable: one machine is not ready")

	infrastructure := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DockerCluster",
		"metadata": map[string]any{"name": "demo", "namespace": "prod", "uid": "infra"},
	}}
	objects := capitree.NewObjectTree(s.Cluster, capitree.ObjectTreeOptions{})
	workers := capitree.VirtualObject("prod", "WorkerGroup", "Workers")
	objects.Add(s.Cluster, workers)
	s.ControlPlane.Kind = "KubeadmControlPlane"
	objects.Add(s.Cluster, s.ControlPlane, capitree.ObjectMetaName("ControlPlane"))
	objects.Add(s.Cluster, infrastructure, capitree.ObjectMetaName("ClusterInfrastructure"))
	addMachine := func(parent client.Object, m *clusterv1.Machine) {
		m.UID = types.UID(m.Name)
		m.Kind = "Machine"
		objects.Add(parent, m)
	}
	for i := range s.Machines {
		addMachine(s.ControlPlane, &s.Machines[i])
	}
	deployment := &clusterv1.MachineDeployment{
		TypeMeta:   metav1.TypeMeta{Kind: "MachineDeployment"},
		ObjectMeta: metav1.ObjectMeta{Name: "md-0", UID: "md"},
		Spec:       clusterv1.MachineDeploymentSpec{Replicas: new(int32(5))},
		Status:     clusterv1.MachineDeploymentStatus{ReadyReplicas: new(int32(4)), UpToDateReplicas: new(int32(5))},
	}
	is(deployment, clusterv1.AvailableCondition, "True", "Available", "")
	objects.Add(workers, deployment)
	w := &State{}
	for _, name := range []string{"w-5", "w-4", "w-3", "w-2"} {
		machine(name)(w)
	}
	machine("w-1", deleted)(w)
	w.Machines[4].Status.Conditions = nil
	for i := range w.Machines {
		addMachine(deployment, &w.Machines[i])
	}

	want := tree.Node{
		Name: "Cluster/demo", Ready: tree.Is(false), Detail: "Provisioned, 5m old, NotAvailable: ControlPlaneAvailable: one machine is not ready",
		Parts: []tree.Node{
			{Name: "DockerCluster/demo"},
			{
				Name: "KubeadmControlPlane/demo-cp", Ready: tree.Is(true), Detail: "1 of 2 machines ready, 1 up to date, v1.36.3",
				Parts: []tree.Node{
					{Name: "Machine/demo-cp-a", Ready: tree.Is(true), Detail: "Running, v1.36.3, node node-demo-cp-a, 5m old"},
					{Name: "Machine/demo-cp-b", Ready: tree.Is(false), Detail: "Running, v1.36.3, node node-demo-cp-b, 5m old, " +
						"NotReady: NodeHealthy: Node.Ready: kubelet stopped posting node status, not up to date: KubeadmConfig is not up-to-date"},
				},
			},
			{
				Name: "Workers", Ready: tree.Is(true),
				Parts: []tree.Node{{
					Name: "MachineDeployment/md-0", Ready: tree.Is(true), Detail: "4 of 5 machines ready",
					Parts: []tree.Node{
						{Name: "Machine/w-1", Detail: "Deleting, v1.36.3, node node-w-1, 5m old, being deleted for 3m30s"},
						{Name: "4 Machines", Ready: tree.Is(true), Detail: "w-2, w-3, w-4, ..."},
					},
				}},
			},
		},
	}
	for range 20 {
		got := describeTree(objects, objects.GetRoot(), began.Add(5*time.Minute))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("want -, got +:\n%s", diff)
		}
	}
}

func TestDescribeState(t *testing.T) {
	t.Parallel()
	got := describeState(observed(pausedCluster), began.Add(time.Minute))
	want := tree.Node{
		Name: "Cluster/demo", Ready: tree.Is(true), Detail: "Provisioned, paused",
		Parts: []tree.Node{{
			Name: "KubeadmControlPlane/demo-cp", Ready: tree.Is(true), Detail: "1 of 1 machines ready",
			Parts: []tree.Node{{Name: "Machine/demo-cp-a", Ready: tree.Is(true), Detail: "Running, v1.36.3, node node-demo-cp-a, 60s old"}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got := describeState(observed(noControlPlane), began); len(got.Parts) != 0 {
		t.Errorf("parts of what is not there: %v", got.Parts)
	}
}
