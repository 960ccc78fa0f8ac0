package clusterapi_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/capiam/capiam/test/clusterapi/management"
	"github.com/capiam/capiam/test/programs"
)

// A provider whose manager ends is an error with the end of its log, and nothing
// is left running.
func TestStartFails(t *testing.T) {
	t.Parallel()
	bin := programs.Dir(t)
	dir := shortDir(t)
	docker := management.Docker(bin, "/bin/sh", "-c", "echo no engine >&2; exit 3")
	m, err := management.Start(within(t), management.Options{Dir: dir, Bin: bin, Infrastructure: docker})
	if err == nil {
		m.Stop()
		t.Fatal("want an error")
	}
	for _, text := range []string{"infrastructure-docker", "exit status 3", "no engine"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("want %q: %v", text, err)
		}
	}
	// The lock says that the API server is gone, too.
	if err := management.Remove(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

// A management cluster whose infrastructure provider nobody runs, for others to
// move their clusters to. Its data outlives it.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	bin := programs.Dir(t)
	o := management.Options{Dir: shortDir(t), Bin: bin, Infrastructure: management.Docker(bin)}
	var kubeconfig [2][]byte
	for i := range kubeconfig {
		m, err := management.Start(within(t), o)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := management.Start(within(t), o); err == nil {
			second.Stop()
			t.Error("it was started twice")
		}
		pids := m.PIDs()
		if pids["infrastructure-docker"] != 0 || pids["cluster-api"] == 0 {
			t.Errorf("processes: %v", pids)
		}
		m.Stop()
		for name, pid := range pids {
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("%s is left running", name)
			}
		}
		if kubeconfig[i], err = os.ReadFile(m.Kubeconfig); err != nil {
			t.Fatal(err)
		}
	}
	if string(kubeconfig[0]) != string(kubeconfig[1]) {
		t.Error("the kubeconfig has changed")
	}
}

// shortDir is a directory whose path is short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "capiam-capi-")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "management")
	t.Cleanup(func() {
		if err := management.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
		if err := os.Remove(parent); err != nil {
			t.Error(err)
		}
	})
	return dir
}
