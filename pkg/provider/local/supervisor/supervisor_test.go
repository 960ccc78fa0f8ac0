//go:build unix

package supervisor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/capiam/capiam/pkg/provider/local"
)

func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t)
	w.ready(t)
	status := w.status(t)
	if status.PID != os.Getpid() || len(status.Components) != 4 {
		t.Errorf("status %+v", status)
	}
	if info, err := os.Stat(w.layout.ControlSocket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	if err := Run(t.Context(), w.options); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("a second supervisor got %v", err)
	}
	// The first is none the worse for it.
	w.status(t)

	control := local.NewControl(w.layout)
	before := w.part(t, "authenticator")
	if want := local.ConfigSum([]byte("clusterID: c1\n")); before.Config != want {
		t.Errorf("it runs with configuration %s, want %s", before.Config, want)
	}
	if err := os.WriteFile(w.layout.AuthenticatorConfig(), []byte("clusterID: c2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now := w.part(t, "authenticator"); now.Config != before.Config {
		t.Error("a file that nobody has read counts")
	}
	if err := control.RestartAuthenticator(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := w.part(t, "authenticator")
	if after.PID == before.PID || after.Restarts != 1 || after.LastError != "" || after.Config != local.ConfigSum([]byte("clusterID: c2\n")) {
		t.Errorf("restarted from %+v to %+v", before, after)
	}

	ids := []local.Identity{{Profile: "dev", ARN: "arn:aws:iam::111122223333:role/dev"}}
	first, err := control.EnsureIdentities(t.Context(), ids)
	if err != nil || len(first.Credentials) != 1 {
		t.Fatal(first, err)
	}
	again, err := control.EnsureIdentities(t.Context(), ids)
	if err != nil || again.Credentials[0] != first.Credentials[0] {
		t.Errorf("the same identity has other credentials (%v)", err)
	}
	if _, err := control.EnsureIdentities(t.Context(), []local.Identity{{Profile: "bad", ARN: "x"}}); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("got %v, want the identity named", err)
	}

	if err := control.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-w.done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if running, err := local.Running(w.layout); err != nil || running {
		t.Errorf("running %t, %v after its end", running, err)
	}
	for _, pid := range []int{after.PID} {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("child %d is still there (%v)", pid, err)
		}
	}
	data, err := os.ReadFile(w.layout.Log("authenticator"))
	if err != nil || strings.Count(string(data), "child began") != 2 || strings.Count(string(data), "child ended") != 2 {
		t.Errorf("the authenticator logged %q, %v", data, err)
	}
	if text := w.log.String(); strings.Contains(text, first.Credentials[0].SecretAccessKey) || strings.Contains(text, first.Credentials[0].SessionToken) {
		t.Error("the log holds credentials")
	}
}

func TestFaultsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t)
	w.ready(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.layout.ControlSocket())
	}}}
	for body, want := range map[string]int{
		`[]`:                             http.StatusOK,
		`[{"kind":"throttle"}]`:          http.StatusOK,
		`[{"kind":"sleepy"}]`:            http.StatusUnprocessableEntity,
		`[{"kind":"delay","wait":"1s"}]`: http.StatusUnprocessableEntity,
		`nonsense`:                       http.StatusUnprocessableEntity,
	} {
		resp, err := client.Post("http://x"+local.PathFaults, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", body, resp.Status, want)
		}
	}
	resp, err := client.Post("http://x"+local.PathIdentities, "application/json", strings.NewReader("nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("nonsense: %s", resp.Status)
	}
}

func TestChildThatCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.options.Authenticator = childCommand("crash")
	w.start(t)
	until(t, "restart the authenticator", func() bool {
		status, err := local.NewControl(w.layout).Status(t.Context())
		return err == nil && status.Components[2].Restarts >= 2
	})
	part := w.part(t, "authenticator")
	if !strings.Contains(part.LastError, "exit status 3") {
		t.Errorf("got %+v", part)
	}
	if now := w.part(t, "kube-controller-manager"); now.Restarts != 0 {
		t.Errorf("the other child was restarted too: %+v", now)
	}
	w.cancel()
	if err := <-w.done; err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.options.Authenticator = []string{filepath.Join(t.TempDir(), "absent")}
	w.start(t)
	until(t, "try to start it", func() bool {
		status, err := local.NewControl(w.layout).Status(t.Context())
		return err == nil && strings.Contains(status.Components[2].LastError, "no such file")
	})
	if part := w.part(t, "authenticator"); part.PID != 0 || part.State == local.StateRunning {
		t.Errorf("got %+v", part)
	}
}

func TestControlPlaneThatFails(t *testing.T) {
	t.Parallel()
	failure := errors.New("etcd: no space left")
	for name, end := range map[string]error{"with an error": failure, "by itself": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.options.ControlPlane = func(context.Context, local.Layout, *local.Record) error { return end }
			err := Run(t.Context(), w.options)
			if err == nil || end != nil && !errors.Is(err, end) || !strings.Contains(err.Error(), "control plane: ") {
				t.Errorf("got %v", err)
			}
			if running, lockErr := local.Running(w.layout); lockErr != nil || running {
				t.Errorf("running %t, %v after its end", running, lockErr)
			}
		})
	}
}

// TestStopBeforeReady stops a cluster whose API server never comes up.
func TestStopBeforeReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.options.ControlPlane = func(ctx context.Context, _ local.Layout, _ *local.Record) error {
		<-ctx.Done()
		return nil
	}
	// A supervisor that was killed has left its socket.
	stale, err := net.Listen("unix", w.layout.ControlSocket())
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = stale.Close()
	w.start(t)
	until(t, "answer", func() bool {
		_, err := local.NewControl(w.layout).Status(t.Context())
		return err == nil
	})
	status := w.status(t)
	if status.Ready || status.Components[1].State != local.StateStarting {
		t.Errorf("status %+v", status)
	}
	if err := local.Stop(t.Context(), w.layout); err != nil {
		t.Fatal(err)
	}
	if err := <-w.done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if err := local.Remove(w.layout); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.layout.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there (%v)", err)
	}
}

func TestRemoveRefusesWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t)
	w.ready(t)
	if err := local.Remove(w.layout); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("got %v", err)
	}
	w.status(t)
}

func TestLogIsSetAside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "x.log")
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(mostLog + 1); err != nil { // sparse
		t.Fatal(err)
	}
	_ = f.Close()
	f, err = openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the new log has %d bytes, mode %v, %v", info.Size(), info.Mode(), err)
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != mostLog+1 {
		t.Errorf("the old log is not set aside: %v", err)
	}
}
