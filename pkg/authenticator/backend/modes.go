package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// ModesOptions say which backends a server has.
type ModesOptions struct {
	// Configured are the backends of the configuration, in order, those that the
	// store was made for.
	Configured []string
	// Path is a file that names others, while it is there; empty is none.
	Path string
	// Open returns what keeps a backend up to date until its context ends, or why
	// it cannot be had here. It is called anew for a backend that comes back.
	Open    func(name string) (run func(context.Context), err error)
	Store   *Store
	Log     *slog.Logger
	Metrics *metrics.Metrics
	// Now is the clock; nil is the machine's.
	Now func() time.Time
	// Tick says when to look at the file; nil is once a second.
	Tick <-chan time.Time
}

// Modes runs the backends: those of the configuration, or while it is there those
// of a file, the original's dynamicBackendModePath. It is JSON:
//
//	{"backendMode": "EKSConfigMap DynamicFile", "Version": "1", "LastUpdatedDateTime": "1700000000"}
//
// A server that starts goes by the file at once. Later, what it names comes into
// force when all of it has loaded, so that nobody is refused meanwhile. A file that
// is of no use changes nothing.
//
// https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/server/server.go
// (CallBackForFileLoad, CallBackForFileDeletion)
type Modes struct {
	opts ModesOptions
	file watchedFile
	// open are the backends that run, or are to be run.
	open map[string]*running
	// inForce is closed when what is to come into force has.
	inForce <-chan struct{}

	mu      sync.Mutex
	problem string
}

// running is a backend. ended is nil until it has been started.
type running struct {
	run   func(context.Context)
	stop  context.CancelFunc
	ended chan struct{}
}

// NewModes opens the backends that a server starts with. It fails if those of the
// configuration are needed, and one of them cannot be had.
func NewModes(opts ModesOptions) (*Modes, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	m := &Modes{opts: opts, file: watchedFile{path: opts.Path, read: readTable}, open: map[string]*running{}}
	names := opts.Configured
	if opts.Path != "" {
		if data, _, err := m.file.look(); !errors.Is(err, fs.ErrNotExist) {
			named, _, err := m.read(data, err)
			if err == nil {
				opts.Store.Replace(named)
				m.count()
				return m, nil
			}
			m.fail(err)
		}
	}
	if err := m.ensure(names); err != nil {
		return nil, err
	}
	m.count()
	return m, nil
}

// read opens the backends that the file names.
func (m *Modes) read(data []byte, err error) (names []string, updated time.Time, _ error) {
	if err == nil {
		names, updated, err = parseModes(data)
	}
	if err == nil {
		err = m.ensure(names)
	}
	return names, updated, err
}

// ensure opens those of the backends that are not open, all or none.
func (m *Modes) ensure(names []string) error {
	opened := map[string]*running{}
	for _, name := range names {
		if m.open[name] != nil {
			continue
		}
		run, err := m.opts.Open(name)
		if err != nil {
			for other := range opened {
				m.opts.Store.Drop(other)
			}
			return fmt.Errorf("backend %s: %w", name, err)
		}
		opened[name] = &running{run: run}
	}
	maps.Copy(m.open, opened)
	return nil
}

// Run runs the backends, and follows the file, until ctx ends.
func (m *Modes) Run(ctx context.Context) {
	tick, stop := m.opts.Tick, func() {}
	if m.opts.Path != "" {
		tick, stop = orTicker(tick)
	}
	defer stop()
	m.startAll(ctx)
	for {
		select {
		case <-ctx.Done():
			for _, r := range m.open {
				<-r.ended
			}
			return
		case <-m.inForce:
			m.inForce = nil
			m.opts.Log.Info("other backends are in force", "backends", m.opts.Store.Names())
			m.stopOthers()
			m.count()
		case <-tick:
			if data, changed, err := m.file.look(); changed {
				m.take(data, err)
				m.startAll(ctx)
			}
		}
	}
}

// startAll starts the backends that are open.
func (m *Modes) startAll(ctx context.Context) {
	for _, r := range m.open {
		if r.ended != nil {
			continue
		}
		life, stop := context.WithCancel(ctx)
		run, ended := r.run, make(chan struct{})
		r.run, r.stop, r.ended = nil, stop, ended // what it was given to begin with may be large
		go func() {
			defer close(ended)
			run(life)
		}()
	}
}

// stopOthers ends the backends that are neither in force nor to be.
func (m *Modes) stopOthers() {
	needed := m.opts.Store.Names()
	for _, s := range m.opts.Store.Coming() {
		needed = append(needed, s.Name)
	}
	for name, r := range m.open {
		if slices.Contains(needed, name) {
			continue
		}
		if r.ended != nil {
			r.stop()
			<-r.ended
		}
		delete(m.open, name)
		m.opts.Store.Drop(name)
	}
}

// take has what was found of the file come into force.
func (m *Modes) take(data []byte, err error) {
	names, updated := m.opts.Configured, time.Time{}
	if errors.Is(err, fs.ErrNotExist) {
		m.opts.Log.Warn("the file of backends is not there, the configuration's count", "path", m.opts.Path)
		err = m.ensure(names)
	} else {
		names, updated, err = m.read(data, err)
	}
	if err != nil {
		m.fail(err)
		return
	}
	m.setProblem("")
	m.inForce = m.opts.Store.Prepare(names)
	// What a file before this one named, and never came into force.
	m.stopOthers()
	if !updated.IsZero() {
		m.opts.Metrics.BackendModeLatency(m.opts.Now().Sub(updated))
	}
}

// count tells the metrics whether a dynamic file is among the backends.
func (m *Modes) count() {
	names := m.opts.Store.Names()
	dynamic := slices.Contains(names, mapping.BackendDynamicFile)
	m.opts.Metrics.DynamicFileMode(dynamic, dynamic && len(names) == 1)
}

func (m *Modes) fail(err error) {
	problem := fmt.Sprintf("%s: %v", m.opts.Path, err)
	m.opts.Metrics.DynamicFileFailed()
	m.opts.Log.Error("the file of backends is of no use, they stay as they are", "problem", problem, "backends", m.opts.Store.Names())
	m.setProblem(problem)
}

func (m *Modes) setProblem(problem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problem = problem
}

// Problem says why the backends in force are not those that the file names; empty
// if they are.
func (m *Modes) Problem() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.problem != "" {
		return m.problem
	}
	for _, s := range m.opts.Store.Coming() {
		if s.Loaded {
			continue
		}
		problem := fmt.Sprintf("what %s names waits for %s, which has not loaded", m.opts.Path, s.Name)
		if s.Problem != "" {
			problem += ": " + s.Problem
		}
		return problem
	}
	return ""
}

// parseModes reads a file of backends, and when it says it was written, zero if it
// does not.
func parseModes(data []byte) (names []string, updated time.Time, err error) {
	var doc struct {
		Modes   string `json:"backendMode"`
		Updated string `json:"LastUpdatedDateTime"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, time.Time{}, fmt.Errorf("not JSON of the expected form: %w", err)
	}
	names, err = mapping.ParseBackends(strings.FieldsFunc(doc.Modes, func(r rune) bool { return r == ' ' || r == ',' }))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("backendMode: %w", err)
	}
	return names, unixTime(doc.Updated), nil
}

// unixTime reads seconds since 1970; zero if they are none.
func unixTime(text string) time.Time {
	sec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || sec <= 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}
