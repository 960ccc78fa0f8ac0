package clusterapi

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	capitree "sigs.k8s.io/cluster-api/cmd/clusterctl/client/tree"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/tree"
)

// Describe returns the objects of a cluster as a tree, as `clusterctl describe
// cluster` finds them: infrastructure and bootstrap objects of machines only if
// they say something that the machine does not.
func (m *Management) Describe(ctx context.Context, key types.NamespacedName) (tree.Node, error) {
	s, err := m.State(ctx, key)
	if err != nil {
		return tree.Node{}, err
	}
	missing := m.missing(ctx, s)
	objects, err := capitree.Discovery(ctx, m, key.Namespace, key.Name, capitree.DiscoverOptions{})
	if err != nil || s.ControlPlane != nil && !slices.ContainsFunc(objects.GetObjectsByParent(objects.GetRoot().GetUID()), isControlPlane) {
		// The user may not look at everything, at CRDs for instance.
		n := describeState(s, time.Now())
		if err == nil {
			err = fmt.Errorf("KubeadmControlPlane %s was not found by its CRD", s.ControlPlane.Name)
		}
		n.Parts = append(n.Parts, tree.Node{Name: "Others", Detail: "not all can be told: " + firstLine(err)})
		return withMissing(n, missing), nil
	}
	return withMissing(describeTree(objects, objects.GetRoot(), time.Now()), missing), nil
}

// withMissing adds objects that should be there.
func withMissing(n tree.Node, missing []Problem) tree.Node {
	for _, p := range missing {
		n.Parts = append(n.Parts, tree.Node{Name: p.Kind + "/" + p.Name, Ready: tree.Is(false), Detail: p.What})
	}
	return n
}

func isControlPlane(o client.Object) bool {
	return o.GetObjectKind().GroupVersionKind().Kind == "KubeadmControlPlane"
}

// describeState describes what is known without looking further.
func describeState(s *State, now time.Time) tree.Node {
	s.Cluster.SetGroupVersionKind(clusterv1.GroupVersion.WithKind("Cluster"))
	root := describeObject(s.Cluster, now)
	if s.ControlPlane == nil {
		return root
	}
	s.ControlPlane.SetGroupVersionKind(controlplanev1.GroupVersion.WithKind("KubeadmControlPlane"))
	kcp := describeObject(s.ControlPlane, now)
	for i := range s.Machines {
		machine := &s.Machines[i]
		machine.SetGroupVersionKind(clusterv1.GroupVersion.WithKind("Machine"))
		kcp.Parts = append(kcp.Parts, describeObject(machine, now))
	}
	root.Parts = []tree.Node{kcp}
	return root
}

// describeTree describes an object and what belongs to it.
func describeTree(t *capitree.ObjectTree, o client.Object, now time.Time) tree.Node {
	n := describeObject(o, now)
	parts := t.GetObjectsByParent(o.GetUID())
	slices.SortFunc(parts, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(treeRank(a), treeRank(b)),
			strings.Compare(kindOf(a), kindOf(b)), strings.Compare(a.GetName(), b.GetName()))
	})
	for _, part := range parts {
		n.Parts = append(n.Parts, describeTree(t, part, now))
	}
	n.Parts = collapse(n.Parts, o)
	if capitree.IsVirtualObject(o) {
		n.Name = o.GetName()
		n.Ready = allReady(n.Parts)
	}
	return n
}

// treeRank has a cluster's infrastructure first, then its control plane, then the
// rest.
func treeRank(o client.Object) int {
	switch capitree.GetMetaName(o) {
	case "ClusterInfrastructure":
		return 0
	case "ControlPlane":
		return 1
	}
	return 2
}

// fewMachines is how many machines of workers are listed one by one though they
// are ready.
const fewMachines = 3

// collapse makes one node of a worker's machines that are ready, if they are
// many. Those of the control plane are few, and each is of interest.
func collapse(parts []tree.Node, parent client.Object) []tree.Node {
	if isControlPlane(parent) {
		return parts
	}
	var well []string
	var rest []tree.Node
	for _, part := range parts {
		if name, ok := strings.CutPrefix(part.Name, "Machine/"); ok && part.Ready != nil && *part.Ready && len(part.Parts) == 0 {
			well = append(well, name)
			continue
		}
		rest = append(rest, part)
	}
	if len(well) <= fewMachines {
		return parts
	}
	return append(rest, tree.Node{
		Name: fmt.Sprintf("%d Machines", len(well)), Ready: tree.Is(true),
		Detail: strings.Join(well[:fewMachines], ", ") + ", ...",
	})
}

func allReady(parts []tree.Node) *bool {
	var ready *bool
	for _, part := range parts {
		if part.Ready != nil && (ready == nil || *ready) {
			ready = part.Ready
		}
	}
	return ready
}

// describeObject describes one object, whatever its kind: all of Cluster API's
// have the same fields for the same things.
func describeObject(o client.Object, now time.Time) tree.Node {
	n := tree.Node{Name: kindOf(o) + "/" + o.GetName()}
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		n.Detail = err.Error()
		return n
	}
	var detail []string
	say := func(format string, args ...any) { detail = append(detail, fmt.Sprintf(format, args...)) }

	if phase, _, _ := unstructured.NestedString(u, "status", "phase"); phase != "" {
		say("%s", phase)
	}
	if paused, _, _ := unstructured.NestedBool(u, "spec", "paused"); paused || o.GetAnnotations()[clusterv1.PausedAnnotation] != "" {
		say("paused")
	}
	if text := replicas(u); text != "" {
		say("%s", text)
	}
	for _, path := range [][]string{{"spec", "version"}, {"spec", "topology", "version"}, {"spec", "template", "spec", "version"}} {
		if v, _, _ := unstructured.NestedString(u, path...); v != "" {
			say("%s", v)
			break
		}
	}
	if node, _, _ := unstructured.NestedString(u, "status", "nodeRef", "name"); node != "" {
		say("node %s", node)
	}
	if created := o.GetCreationTimestamp(); !created.IsZero() {
		say("%s old", duration.HumanDuration(now.Sub(created.Time)))
	}
	if deleted := o.GetDeletionTimestamp(); deleted != nil {
		say("being deleted for %s", duration.HumanDuration(now.Sub(deleted.Time)))
	}
	if c := readiness(o); c != nil {
		n.Ready = tree.Is(c.Status == metav1.ConditionTrue)
		if !*n.Ready {
			say("%s", reasonAndMessage(c))
		}
	}
	if c := capitree.GetMachineUpToDateCondition(o); c != nil && c.Status == metav1.ConditionFalse {
		say("not up to date: %s", explain(c))
	}
	n.Detail = strings.Join(detail, ", ")
	return n
}

// replicas says how many of the wanted machines there are.
func replicas(u map[string]any) string {
	number := func(path ...string) (int64, bool) {
		n, ok, _ := unstructured.NestedInt64(u, path...)
		return n, ok
	}
	desired, ok := number("spec", "replicas")
	if !ok {
		return ""
	}
	ready, _ := number("status", "readyReplicas")
	text := fmt.Sprintf("%d of %d machines ready", ready, desired)
	if upToDate, ok := number("status", "upToDateReplicas"); ok && upToDate != desired {
		text += fmt.Sprintf(", %d up to date", upToDate)
	}
	return text
}

// readiness is the condition that sums an object up: nil if it has none.
func readiness(o client.Object) *metav1.Condition {
	if kindOf(o) != "Machine" { // a Machine becomes available a while after it is ready
		if c := capitree.GetAvailableCondition(o); c != nil {
			return c
		}
	}
	return capitree.GetReadyCondition(o)
}

func reasonAndMessage(c *metav1.Condition) string {
	if message := oneLine(c.Message); message != "" {
		return c.Reason + ": " + message
	}
	return c.Reason
}

func kindOf(o client.Object) string { return o.GetObjectKind().GroupVersionKind().Kind }
