package clusterapi_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/tree"
	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// told collects what Await reports.
type told struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

func (l *told) report(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(line)
	l.lines = append(l.lines, line)
}

// inOrder fails the test unless a line matches each expression, in this order.
func (l *told) inOrder(expressions ...string) {
	l.t.Helper()
	rest := l.lines
	for _, e := range expressions {
		re := regexp.MustCompile("^" + e + "$")
		i := 0
		for i < len(rest) && !re.MatchString(rest[i]) {
			i++
		}
		if i == len(rest) {
			l.t.Errorf("no line %q, in that place, among\n%s", e, strings.Join(l.lines, "\n"))
			return
		}
		rest = rest[i+1:]
	}
	l.lines = nil
}

// A cluster's life as somebody sees it who waits for each step of it.
func TestAwaitAndDescribe(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "watched")
	key := types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
	m := reach(t, c.Management.Config)
	if err := c.Apply(within(t), fixture(t, "cluster-v1beta2.yaml", c)); err != nil {
		t.Fatal(err)
	}
	lines := &told{t: t}
	await := func(done clusterapi.Done) *clusterapi.State {
		t.Helper()
		s, err := m.Await(within(t), key, clusterapi.AwaitOptions{Done: done, Report: lines.report})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	initialized := false
	s := await(func(s *clusterapi.State) (bool, string) {
		if done, _ := clusterapi.ControlPlaneInitialized(s); done && !initialized {
			initialized = true
			if _, err := m.AdminKubeconfig(within(t), key); err != nil {
				t.Errorf("initialized, but %v", err)
			}
		}
		return clusterapi.ControlPlaneSettled(s)
	})
	if n := clusterapi.WillRoll(s).Machines; n != 1 {
		t.Errorf("%d machines would roll, want 1", n)
	}
	const machine = `Machine watched-control-plane-\S+: `
	lines.inOrder(
		machine+`(new|Pending|Provisioning|Provisioned).*`,
		machine+`Running on node watched-control-plane-\S+ after \S+`,
		machine+`ready after \S+`,
	)

	n := describeWell(t, m, key)
	if text := outline(n, 0); !regexp.MustCompile(`^Cluster/watched true
  DevCluster/watched( true)?
  KubeadmControlPlane/watched-control-plane true
    Machine/watched-control-plane-\S+ true
  Workers true
    MachineDeployment/watched-workers true
      Machine/watched-workers-\S+ true
$`).MatchString(text) {
		t.Errorf("described as\n%s", text)
	}

	old := s.Machines[0].Name
	addFile(t, c, s)
	s = await(clusterapi.ControlPlaneSettled)
	if len(s.Machines) != 1 || s.Machines[0].Name == old {
		t.Errorf("machines %v after rolling %s", s.Machines, old)
	}
	lines.inOrder(
		`KubeadmControlPlane watched-control-plane: Rolling out 1 not up-to-date replicas; .*`,
		machine+`Running on node .*`,
		`Machine `+old+`: gone( after \S+)?`,
	)

	if err := m.DeleteCluster(within(t), key); err != nil {
		t.Fatal(err)
	}
	if s := await(clusterapi.Gone); s != nil {
		t.Errorf("gone, but there is %v", s)
	}
	lines.inOrder(`Cluster watched: Deleting`, `Cluster watched: gone`)
	if _, err := m.Describe(within(t), key); !errors.Is(err, clusterapi.ErrNotFound) {
		t.Errorf("describe what is gone: %v", err)
	}
}

// describeWell describes a cluster once it is all ready: the workers may come
// after the control plane.
func describeWell(t *testing.T, m *clusterapi.Management, key types.NamespacedName) tree.Node {
	t.Helper()
	if _, err := m.Await(within(t), key, clusterapi.AwaitOptions{Done: clusterapi.Available}); err != nil {
		t.Fatal(err)
	}
	n, err := m.Describe(within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Describe(within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := outline(n, 0), outline(again, 0); a != b {
		t.Errorf("described twice:\n%s\n%s", a, b)
	}
	return n
}

// outline is a tree's names, and what is ready.
func outline(n tree.Node, depth int) string {
	ready := ""
	if n.Ready != nil {
		ready = fmt.Sprintf(" %v", *n.Ready)
	}
	text := strings.Repeat("  ", depth) + n.Name + ready + "\n"
	for _, part := range n.Parts {
		text += outline(part, depth+1)
	}
	return text
}

// addFile changes something of the control plane that its machines are made from.
func addFile(t *testing.T, c *cluster.Cluster, s *clusterapi.State) {
	t.Helper()
	kcp := s.ControlPlane.DeepCopy()
	kcp.Spec.KubeadmConfigSpec.Files = append(kcp.Spec.KubeadmConfigSpec.Files, bootstrapv1.File{Path: "/etc/changed", Content: "changed"})
	if err := c.Management.Client.Update(within(t), kcp); err != nil {
		t.Fatal(err)
	}
}

// A control plane whose machines cannot be made: the error says so, and of which
// object.
func TestAwaitSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "stuck")
	key := types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
	m := reach(t, c.Management.Config)
	text := strings.Replace(string(fixture(t, "cluster-v1beta2.yaml", c)), `        kind: DevMachineTemplate
        name: stuck-control-plane
`, `        kind: DevMachineTemplate
        name: forgotten
`, 1)
	if err := c.Apply(within(t), []byte(text)); err != nil {
		t.Fatal(err)
	}
	// The time that is waited in vain begins when Cluster API has looked.
	if _, err := m.Await(within(t), key, clusterapi.AwaitOptions{Done: func(s *clusterapi.State) (bool, string) {
		return s != nil && s.ControlPlane != nil && len(s.ControlPlane.Status.Conditions) > 0, "conditions"
	}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := m.Await(ctx, key, clusterapi.AwaitOptions{Done: clusterapi.ControlPlaneInitialized})
	if _, ok := errors.AsType[*clusterapi.WaitError](err); !ok {
		t.Fatalf("want a WaitError, got %v", err)
	}
	t.Log(err)
	for _, want := range []string{
		"waiting for the control plane to be initialized", "KubeadmControlPlane stuck-control-plane: ",
		"DevMachineTemplate forgotten: does not exist, and KubeadmControlPlane stuck-control-plane is to make its machines from it",
		"kubectl --context management --namespace " + c.Namespace + " describe kubeadmcontrolplane stuck-control-plane",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	n, err := m.Describe(within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if text := outline(n, 0); !strings.Contains(text, "DevMachineTemplate/forgotten false") {
		t.Errorf("described as\n%s", text)
	}
}
