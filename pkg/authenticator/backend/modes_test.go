package backend

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// modesBench has backends that load when the test says so. Each maps one role of
// its own name.
type modesBench struct {
	t     *testing.T
	path  string
	store *Store
	modes *Modes
	tick  chan time.Time

	mu sync.Mutex
	// load has what lets a backend load; it begins closed unless it is slow.
	load map[string]chan struct{}
	runs map[string]int // that are running
}

// newModesBench makes the backends of the configuration, and starts nothing. The
// slow ones load when they are let. CRD cannot be had.
func newModesBench(t *testing.T, path string, configured []string, slow ...string) *modesBench {
	b := &modesBench{t: t, path: path, tick: make(chan time.Time), load: map[string]chan struct{}{}, runs: map[string]int{}}
	for _, name := range mapping.Backends() {
		b.load[name] = make(chan struct{})
		if !slices.Contains(slow, name) {
			close(b.load[name])
		}
	}
	m := metrics.New()
	b.store = NewStore(configured, StoreOptions{Partition: "aws", Metrics: m})
	var err error
	b.modes, err = NewModes(ModesOptions{
		Configured: configured, Path: path, Open: b.open, Store: b.store, Tick: b.tick,
		Log: slog.New(slog.DiscardHandler), Metrics: m,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *modesBench) open(name string) (func(context.Context), error) {
	if name == mapping.BackendCRD {
		return nil, errors.New("no way to the API server")
	}
	return func(ctx context.Context) {
		b.count(name, 1)
		defer b.count(name, -1)
		select {
		case <-b.load[name]:
			b.store.Set(name, mapping.Mappings{Roles: []mapping.Entry{{ARN: role(name), Username: name}}}, nil, "")
			<-ctx.Done()
		case <-ctx.Done():
		}
	}, nil
}

func (b *modesBench) count(name string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[name] += n
}

// running returns the backends that run, sorted.
func (b *modesBench) running() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name, n := range b.runs {
		for range n {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (b *modesBench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.modes.Run(ctx) })
	b.t.Cleanup(func() {
		cancel()
		wg.Wait()
		if left := b.running(); left != "" {
			b.t.Errorf("still running: %s", left)
		}
	})
}

// write puts a text into the file, and has it looked at; "" removes the file.
func (b *modesBench) write(text string) {
	b.t.Helper()
	looks := 1
	if text == "" {
		looks = 2 // one may fall between the steps of a replacement
		if err := os.Remove(b.path); err != nil {
			b.t.Fatal(err)
		}
	} else if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	for range looks {
		b.tick <- time.Time{}
	}
}

func (b *modesBench) inForce() string { return strings.Join(b.store.Names(), " ") }

func (b *modesBench) becomes(inForce, running string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); b.inForce() != inForce || b.running() != running; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("in force %q, running %q; want %q, %q", b.inForce(), b.running(), inForce, running)
		}
	}
}

// maps tells whether the backends' own roles are mapped.
func (b *modesBench) maps(name string) bool {
	b.t.Helper()
	arn, err := iam.ParseARN(role(name))
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.store.Lookup(mapping.Principal{ARN: arn})
	return err == nil
}

func TestModes(t *testing.T) {
	t.Parallel()
	const (
		aws, mounted, dynamic = mapping.BackendEKSConfigMap, mapping.BackendMountedFile, mapping.BackendDynamicFile
		both                  = dynamic + " " + aws
	)
	path := func(t *testing.T) string { return filepath.Join(t.TempDir(), "modes.json") }
	file := func(modes string) string { return `{"backendMode": "` + modes + `", "Version": "1"}` }

	t.Run("named and gone again", func(t *testing.T) {
		t.Parallel()
		b := newModesBench(t, path(t), []string{aws})
		b.run()
		b.becomes(aws, aws)
		b.write(file("DynamicFile ConfigMap"))
		b.becomes(both, both)
		b.write(file(dynamic))
		b.becomes(dynamic, dynamic)
		if !b.maps(dynamic) || b.maps(aws) {
			t.Error("others are mapped than the file's")
		}
		b.write("")
		b.becomes(aws, aws)
		if !b.maps(aws) || b.maps(dynamic) {
			t.Error("others are mapped than the configuration's")
		}
	})
	t.Run("nobody is refused until all have loaded", func(t *testing.T) {
		t.Parallel()
		b := newModesBench(t, path(t), []string{aws}, dynamic)
		b.run()
		b.becomes(aws, aws)
		b.write(file(dynamic + " " + mounted))
		b.becomes(aws, both+" "+mounted)
		if problem := b.modes.Problem(); !strings.Contains(problem, "waits for DynamicFile") || !b.maps(aws) || b.maps(mounted) {
			t.Errorf("problem %q", problem)
		}
		close(b.load[dynamic])
		b.becomes(dynamic+" "+mounted, dynamic+" "+mounted)
		if problem := b.modes.Problem(); problem != "" || b.maps(aws) {
			t.Errorf("problem %q", problem)
		}
	})
	t.Run("given up before it has loaded", func(t *testing.T) {
		t.Parallel()
		b := newModesBench(t, path(t), []string{aws}, dynamic)
		b.run()
		b.becomes(aws, aws)
		b.write(file(dynamic))
		b.becomes(aws, both)
		b.write(file(aws + " " + mounted))
		b.becomes(aws+" "+mounted, aws+" "+mounted)
	})
	t.Run("of no use", func(t *testing.T) {
		t.Parallel()
		b := newModesBench(t, path(t), []string{aws})
		b.run()
		for text, want := range map[string]string{
			"{":                 "not JSON of the expected form",
			"{}":                "no backend mode",
			file("Nonsense"):    `unknown backend mode "Nonsense"`,
			file(both + " CRD"): "backend CRD: no way to the API server",
		} {
			b.write(text)
			b.tick <- time.Time{} // the one before has been dealt with
			if problem := b.modes.Problem(); !strings.Contains(problem, want) || b.inForce() != aws {
				t.Errorf("%s: problem %q, in force %q", text, problem, b.inForce())
			}
		}
		b.write(file(mounted))
		b.becomes(mounted, mounted)
		if problem := b.modes.Problem(); problem != "" {
			t.Error(problem)
		}
	})
	t.Run("there at the start", func(t *testing.T) {
		t.Parallel()
		p := path(t)
		if err := os.WriteFile(p, []byte(file(dynamic)), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newModesBench(t, p, []string{aws}, dynamic)
		if b.inForce() != dynamic {
			t.Errorf("in force: %s", b.inForce())
		}
		b.run()
		b.becomes(dynamic, dynamic)
		close(b.load[dynamic])
		<-b.store.Loaded()
	})
	t.Run("of no use at the start", func(t *testing.T) {
		t.Parallel()
		p := path(t)
		if err := os.WriteFile(p, []byte(file("CRD")), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newModesBench(t, p, []string{aws})
		if b.inForce() != aws || !strings.Contains(b.modes.Problem(), "no way to the API server") {
			t.Errorf("in force: %s, problem %q", b.inForce(), b.modes.Problem())
		}
		b.run()
		b.becomes(aws, aws)
	})
}
