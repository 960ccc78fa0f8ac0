//go:build unix

package supervisor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/provider/local"
)

// The test binary also plays the supervisor's children.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		os.Exit(playChild(os.Args[2]))
	}
	os.Exit(m.Run())
}

// playChild runs until SIGTERM, or does what the part says.
func playChild(part string) int {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("child began")
	switch part {
	case "crash":
		fmt.Println("child crashed")
		return 3
	case "end":
		return 0
	}
	<-terminated
	fmt.Println("child ended")
	return 0
}

func childCommand(part string) []string { return []string{os.Args[0], "child", part} }

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("in vain: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}

// world is a cluster's directory, ready to be supervised.
type world struct {
	layout  local.Layout
	record  *local.Record
	log     buffer
	options Options
	cancel  context.CancelFunc
	done    chan error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store := &local.Store{Root: filepath.Join(t.TempDir(), "clusters")}
	ports, err := store.ChoosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		layout: store.Layout("c1"),
		record: &local.Record{
			Name: "c1", ClusterID: "c1", Partition: "aws", Region: "us-west-2",
			BackendMode: []string{"EKSConfigMap"}, Ports: ports, Created: time.Now(),
		},
		done: make(chan error, 1),
	}
	if err := local.WriteRecord(w.layout, w.record); err != nil {
		t.Fatal(err)
	}
	if _, err := local.EnsureKeys(w.layout, w.record, time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := local.EnsureSTS(w.layout, w.record, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.layout.AuthenticatorConfig(), []byte("clusterID: c1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.options = Options{
		Layout: w.layout, ControlPlane: readyPlane,
		ControllerManager: childCommand("run"), Authenticator: childCommand("run"),
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	return w
}

// readyPlane answers /readyz as an API server does.
func readyPlane(ctx context.Context, l local.Layout, record *local.Record) error {
	cert, err := tls.LoadX509KeyPair(l.PKI("apiserver.crt"), l.PKI("apiserver.key"))
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(record.Ports.APIServer)), &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	var asked atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusInternalServerError)
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	<-ctx.Done()
	_ = server.Close()
	serving.Wait()
	return nil
}

// start runs the supervisor until the test ends.
func (w *world) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.done <- Run(ctx, w.options) }()
	t.Cleanup(func() {
		cancel()
		if running, _ := local.Running(w.layout); running {
			<-w.done
		}
	})
}

func (w *world) status(t *testing.T) *local.Status {
	t.Helper()
	status, err := local.NewControl(w.layout).Status(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log.String())
	}
	return status
}

// part is the state of a component, by its name.
func (w *world) part(t *testing.T, name string) local.ComponentStatus {
	t.Helper()
	for _, part := range w.status(t).Components {
		if part.Name == name {
			return part
		}
	}
	t.Fatalf("no component %q", name)
	return local.ComponentStatus{}
}

func (w *world) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	until(t, "answer", func() bool {
		_, err := local.NewControl(w.layout).Status(ctx)
		return err == nil
	})
	if err := local.WaitReady(ctx, w.layout); err != nil {
		t.Fatalf("%v\n%s", err, w.log.String())
	}
	for _, name := range []string{"authenticator", "kube-controller-manager"} {
		until(t, "start "+name, func() bool { return w.part(t, name).State == local.StateRunning })
	}
}

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
