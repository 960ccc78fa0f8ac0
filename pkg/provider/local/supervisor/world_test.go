//go:build unix

package supervisor

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
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
