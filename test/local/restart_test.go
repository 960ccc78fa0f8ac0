package local_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/workflow"
)

// TestRestart ends a cluster's processes in every way, and has it carry on.
func TestRestart(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	c := m.cluster("local")
	spec := m.write("spec.yaml", example(t, "local.yaml"))
	c.create(spec)
	made := c.record()
	_, err := c.clients().CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"kept": "yes"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantKept := func(t *testing.T) {
		t.Helper()
		now := c.record()
		if now.ClusterID != made.ClusterID || now.Ports != made.Ports || !now.Created.Equal(made.Created) {
			t.Errorf("the cluster was %+v and is %+v", made, now)
		}
		kept, err := c.clients().CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
		if err != nil || kept.Data["kept"] != "yes" {
			t.Errorf("its data is lost: %v", err)
		}
		c.wantUser(c.users(), "Developer", "developer", "capiam:edit")
	}

	m.step("killed authenticator", func(t *testing.T) {
		before, err := c.component("authenticator")
		if err != nil {
			t.Fatal(err)
		}
		kill(t, before.PID, syscall.SIGKILL)
		eventually(t, "restart the authenticator", func() error {
			now, err := c.component("authenticator")
			if err == nil && now.PID == before.PID {
				err = errors.New("the old one is said to run")
			}
			return err
		})
		eventually(t, "log in again", func() error {
			if r := c.kubectl(c.users(), "viewer", "auth", "whoami"); r.code != 0 {
				return errors.New(r.stderr)
			}
			return nil
		})
		r := m.capiam("describe", "cluster", "local")
		if !strings.Contains(r.stdout, "1 restarts") {
			t.Errorf("want the restart shown: %s", r)
		}
	})
	m.step("killed controller manager", func(t *testing.T) {
		before, err := c.component("kube-controller-manager")
		if err != nil {
			t.Fatal(err)
		}
		kill(t, before.PID, syscall.SIGKILL)
		eventually(t, "restart the controller manager", func() error {
			now, err := c.component("kube-controller-manager")
			if err == nil && now.PID == before.PID {
				err = errors.New("the old one is said to run")
			}
			return err
		})
	})
	m.step("killed supervisor", func(t *testing.T) {
		pids := c.pids(t)
		kill(t, pids[0], syscall.SIGKILL)
		wantGone(t, pids)
		// What it has left does not matter.
		for _, path := range []string{c.layout.ControlSocket(), c.layout.EtcdSocket(), c.layout.Lock()} {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("nothing stale to test with: %v", err)
			}
		}
		m.wantStopped(t)
		again := c.create(spec)
		if !again.Resumed {
			t.Error("the cluster was made anew")
		}
		wantLogins(t, again.Logins, exampleLogins...)
		wantKept(t)
	})
	m.step("terminated supervisor", func(t *testing.T) {
		pids := c.pids(t)
		started := time.Now()
		kill(t, pids[0], syscall.SIGTERM)
		wantGone(t, pids)
		// It takes about a second on an idle machine.
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		m.wantStopped(t)
		before := c.files()
		changed := c.upgrade(spec)
		if changed.Changed {
			t.Errorf("upgrade changed a cluster that was only stopped: %+v", changed)
		}
		wantSame(t, "upgrade", before, c.files())
		wantKept(t)
	})
	m.step("delete while it is stopped", func(t *testing.T) {
		pids := c.pids(t)
		kill(t, pids[0], syscall.SIGTERM)
		wantGone(t, pids)
		m.capiam("delete", "cluster", "local")
		c.gone()
	})
}

// pids are those of the cluster's processes, the supervisor's first. They come
// from the supervisor itself, so they are the test's own.
func (c *cluster) pids(t *testing.T) []int {
	t.Helper()
	status, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{status.PID}
	for _, part := range status.Components {
		if part.PID != 0 && part.PID != status.PID {
			pids = append(pids, part.PID)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("want three processes: %+v", status)
	}
	return pids
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// wantGone waits until the processes have ended.
func wantGone(t *testing.T, pids []int) {
	t.Helper()
	eventually(t, "end all processes", func() error {
		for _, pid := range pids {
			if alive(pid) {
				return fmt.Errorf("process %d of %v is alive", pid, pids)
			}
		}
		return nil
	})
}

// wantStopped checks what is said about a cluster that is stopped.
func (m *machine) wantStopped(t *testing.T) {
	t.Helper()
	// The kernel drops a process's locks after its memory.
	eventually(t, "see that the cluster is stopped", func() error {
		var list struct{ Items []workflow.Summary }
		m.capiam("get", "clusters", "-o", "json").decode(t, &list)
		if len(list.Items) != 1 || list.Items[0].Status != workflow.StatusStopped {
			return fmt.Errorf("clusters %+v", list.Items)
		}
		return nil
	})
	m.refused([]string{"describe", "cluster", "local"}, "not ready")
	m.refused([]string{"get", "mappings", "local"}, "is stopped", "capiam create cluster")
}

// createSteps are the steps of a create, in order.
var createSteps = []string{
	"Check this machine",
	"Make keys and certificates",
	"Start etcd, kube-apiserver and the authenticator",
	"Write kubeconfigs and AWS profiles",
	"Install the authenticator's chart",
	"Map identities",
	"Log in as every identity",
}

// killMoments are when TestKilledCreate kills: at the beginning of each step, and
// where a step is half done.
var killMoments = []struct {
	name, step string
	// reached waits until the step has come far enough.
	reached func(t *testing.T, c *cluster)
}{
	{name: "checked", step: createSteps[0]},
	{name: "keys", step: createSteps[1]},
	{name: "before the supervisor", step: createSteps[2]},
	{name: "supervisor started", step: createSteps[2], reached: func(t *testing.T, c *cluster) {
		eventually(t, "start the supervisor", func() error { _, err := c.status(); return err })
	}},
	{name: "kubeconfigs", step: createSteps[3]},
	{name: "chart", step: createSteps[4]},
	{name: "chart half installed", step: createSteps[4], reached: func(t *testing.T, c *cluster) {
		eventually(t, "begin the release", func() error {
			_, err := c.clients().CoreV1().Secrets("kube-system").Get(t.Context(), "sh.helm.release.v1.aws-iam-authenticator.v1", metav1.GetOptions{})
			return err
		})
	}},
	{name: "mappings", step: createSteps[5]},
	{name: "logins", step: createSteps[6]},
}

// TestKilledCreate kills create in the middle of one step after the other, until
// a last one completes the cluster.
func TestKilledCreate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	c := m.cluster("local")
	spec := m.write("spec.yaml", example(t, "local.yaml"))
	var first *local.Record
	for _, moment := range killMoments {
		m.step(moment.name, func(t *testing.T) {
			create := m.start(nil, "capiam", "create", "cluster", "-f", spec)
			if !create.waitLine("► " + moment.step) {
				t.Fatalf("the step did not begin: %s", create.wait())
			}
			if moment.reached != nil {
				moment.reached(t, c)
			}
			create.signal(syscall.SIGKILL)
			if r := create.wait(); r.code == 0 {
				t.Errorf("it ended before it was killed: %s", r)
			}
			record, err := local.ReadRecord(c.layout)
			switch {
			case errors.Is(err, local.ErrNotFound):
			case err != nil:
				t.Error(err)
			case first == nil:
				first = record
			case record.ClusterID != first.ClusterID || record.Ports != first.Ports:
				t.Errorf("the cluster was %+v and is %+v", first, record)
			}
		})
	}
	m.step("create", func(t *testing.T) {
		m.capiam("get", "clusters")
		made := c.create(spec)
		wantLogins(t, made.Logins, exampleLogins...)
		if now := c.record(); first == nil || now.ClusterID != first.ClusterID || now.Ports != first.Ports || now.Completed.IsZero() {
			t.Errorf("the cluster was %+v and is %+v", first, now)
		}
		c.wantUser(c.users(), "Developer", "developer", "capiam:edit")
		c.wantPrivate(t)
	})
	m.step("killed delete", func(t *testing.T) {
		for _, step := range []string{"Stop the control plane", "Remove the cluster's files"} {
			remove := m.start(nil, "capiam", "delete", "cluster", "local")
			if !remove.waitLine("► " + step) {
				break // the one before got far enough
			}
			remove.signal(syscall.SIGKILL)
			remove.wait()
		}
		r := m.run(nil, "capiam", "delete", "cluster", "local")
		if r.code != 0 && !strings.Contains(r.stderr, "no such local cluster") {
			t.Error(r)
		}
	})
}

// TestInterruptedCreate stops a first create in the middle of each step, as
// Ctrl-C does: it takes away what it has made.
func TestInterruptedCreate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	c := m.cluster("local")
	spec := m.write("spec.yaml", example(t, "local.yaml"))
	for _, step := range createSteps {
		m.step(step, func(t *testing.T) {
			create := m.start(nil, "capiam", "create", "cluster", "-f", spec)
			if !create.waitLine("► " + step) {
				t.Fatalf("the step did not begin: %s", create.wait())
			}
			create.signal(os.Interrupt)
			r := create.wait()
			if r.code != 1 || !strings.Contains(r.stderr, "interrupted") {
				t.Errorf("want an interrupt: %s", r)
			}
			c.gone()
		})
	}
}
