package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// patience is how long after the start a backend that has not loaded holds up
// logins that only later backends know. After that it is passed over, so that
// one broken backend does not lock out those of the others.
const patience = 15 * time.Second

// ErrNotLoaded says that nobody can be said to be unmapped yet.
var ErrNotLoaded = errors.New("mappings are not loaded")

// Store is all backends' tables, made ready for looking up. A lookup takes one
// atomic load and never waits for a change.
type Store struct {
	opts  StoreOptions
	state atomic.Pointer[snapshot]

	mu sync.Mutex
	// backends are all that run.
	backends []*backendState
	// order names those in force.
	order []string
	// coming is the order that is to follow, inForce what tells of it then; nil
	// if there is none.
	coming  []string
	inForce chan struct{}

	started time.Time
	loaded  chan struct{} // closed once nothing is waited for
	first   sync.Once     // closes it
}

// StoreOptions say what the store is for.
type StoreOptions struct {
	Partition string
	// StrictUserID makes DynamicFile go by user ID.
	StrictUserID bool
	Log          *slog.Logger
	Metrics      *metrics.Metrics
	// NodeNames is told with each change whether a mapping in force needs
	// {{EC2PrivateDNSName}}. It must not wait. It may be nil.
	NodeNames func(needed bool)
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// snapshot is what lookups see. It never changes.
type snapshot struct {
	index *mapping.Index
	// waiting holds the backends that have not loaded, in order.
	waiting []string
	// before tells for each backend whether one that has not loaded comes
	// before it.
	before map[string]bool
}

type backendState struct {
	name   string
	loaded bool
	// partly says of one that has not loaded that what it has is in force.
	partly   bool
	mappings mapping.Mappings
	problem  string
	// read are the findings of reading its newest state, findings those and what
	// the index finds.
	read, findings []mapping.Finding
	// nodeNames says that one of the mappings needs {{EC2PrivateDNSName}}.
	nodeNames bool
}

// Status is how a backend stands.
type Status struct {
	Name string
	// Loaded says that its mappings, or the last good ones, are in force.
	Loaded bool
	// Problem says why its newest state is not in force; empty if it is.
	Problem string
	// Findings are the things wrong in its newest state.
	Findings []mapping.Finding
}

// NewStore returns a store for the backends of these names, in the order of
// precedence. None has loaded yet.
func NewStore(names []string, opts StoreOptions) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Metrics == nil {
		opts.Metrics = metrics.New()
	}
	s := &Store{opts: opts, started: opts.Now(), loaded: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = names
	s.rebuildLocked()
	return s
}

// Prepare has other backends take the place of those in force, all together, as
// soon as each has loaded, or at once if none in force has. Until then nothing
// changes for anybody. The channel is closed when it is done; it never is if
// other names are given before that. Who is no longer in force goes on counting
// as one that runs, until Drop.
func (s *Store) Prepare(names []string) <-chan struct{} {
	s.mu.Lock()
	s.coming, s.inForce = names, make(chan struct{})
	done := s.inForce
	anew := s.replaceLocked()
	s.mu.Unlock()
	s.reportAnew(anew)
	return done
}

// Replace has other backends take the place of those in force, at once. It is for
// a server that runs none of these yet.
func (s *Store) Replace(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.backends {
		if !slices.Contains(names, b.name) {
			s.opts.Metrics.Forget(b.name)
		}
	}
	s.backends = slices.DeleteFunc(s.backends, func(b *backendState) bool { return !slices.Contains(names, b.name) })
	s.order = names
	s.rebuildLocked()
}

// Names returns the backends in force, in order.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// Drop forgets a backend that neither is in force nor is to be, and that no longer
// runs.
func (s *Store) Drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.order, name) || slices.Contains(s.coming, name) {
		return
	}
	s.backends = slices.DeleteFunc(s.backends, func(b *backendState) bool { return b.name == name })
	s.opts.Metrics.Forget(name)
	s.tellNodeNamesLocked()
}

// replaceLocked puts in force what is coming, if it is time. It returns those
// whose findings are others now.
func (s *Store) replaceLocked() (anew []*backendState) {
	if s.coming == nil {
		return nil
	}
	loaded := func(name string) bool { return s.backend(name).loaded }
	partly := func(name string) bool { return loaded(name) || s.backend(name).partly }
	if !slices.ContainsFunc(s.order, partly) || !slices.ContainsFunc(s.coming, func(n string) bool { return !loaded(n) }) {
		s.order, s.coming = s.coming, nil
		found := s.rebuildLocked()
		for _, name := range s.order {
			b := s.backend(name)
			all := append(slices.Clone(b.read), found[name]...)
			if !slices.Equal(all, b.findings) {
				b.findings = all
				anew = append(anew, b)
			}
		}
		close(s.inForce)
	}
	return anew
}

// Lookup returns what the mappings say about a principal: mapping.ErrNotMapped,
// mapping.ErrUserIDMismatch, or ErrNotLoaded while a backend that may know the
// principal has not loaded. The match is not to be changed.
func (s *Store) Lookup(p mapping.Principal) (*mapping.Match, error) {
	st := s.state.Load()
	m, err := st.index.LookupPrincipal(p)
	if len(st.waiting) == 0 {
		return m, err
	}
	if err != nil || m.AccountFallback || st.before[m.Source] {
		if err == nil && s.opts.Now().Sub(s.started) > patience {
			return m, nil
		}
		return nil, fmt.Errorf("%w: backend %s", ErrNotLoaded, strings.Join(st.waiting, ", "))
	}
	return m, nil
}

// Loaded returns a channel that is closed once every backend has mappings in
// force.
func (s *Store) Loaded() <-chan struct{} { return s.loaded }

// Len returns how many principals, permission sets and accounts are mapped.
func (s *Store) Len() int { return s.state.Load().index.Len() }

// Status returns how the backends in force stand, in their order.
func (s *Store) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusLocked(s.order)
}

// Coming returns how the backends stand that are to come into force, in their
// order.
func (s *Store) Coming() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusLocked(s.coming)
}

func (s *Store) statusLocked(names []string) []Status {
	all := make([]Status, len(names))
	for i, name := range names {
		b := s.backend(name)
		all[i] = Status{Name: b.name, Loaded: b.loaded, Problem: b.problem, Findings: b.findings}
	}
	return all
}

// Set gives a backend's table, which is in force from now on if the backend is; one
// that the store was not told of is not. The findings are those of reading it;
// those of using it are added. The problem, if there is one, says why this is
// not the backend's newest state.
func (s *Store) Set(name string, m mapping.Mappings, findings []mapping.Finding, problem string) {
	s.set(name, m, findings, problem, true)
}

// SetPartly is Set for a backend that cannot say whom else it maps, and had no
// last good table to say it: for others than those in its table it has not
// loaded.
func (s *Store) SetPartly(name string, m mapping.Mappings, findings []mapping.Finding, problem string) {
	s.set(name, m, findings, problem, false)
}

func (s *Store) set(name string, m mapping.Mappings, findings []mapping.Finding, problem string, whole bool) {
	start := time.Now()
	names := needsNodeNames(m)
	s.mu.Lock()
	b := s.backend(name)
	b.loaded, b.partly, b.mappings, b.nodeNames, b.read = whole, !whole, m, names, findings
	all := slices.Clone(findings)
	if slices.Contains(s.order, name) {
		all = append(all, s.rebuildLocked()[name]...)
	}
	changed := problem != b.problem || !slices.Equal(all, b.findings)
	b.problem, b.findings = problem, all
	anew := s.replaceLocked()
	all = b.findings
	s.tellNodeNamesLocked()
	s.mu.Unlock()
	s.opts.Metrics.Reloaded(name, time.Since(start))
	s.report(name, all, problem, changed)
	s.reportAnew(anew)
}

func (s *Store) tellNodeNamesLocked() {
	if s.opts.NodeNames != nil {
		s.opts.NodeNames(slices.ContainsFunc(s.backends, func(b *backendState) bool { return b.nodeNames }))
	}
}

func needsNodeNames(m mapping.Mappings) bool {
	uses := func(e mapping.Entry) bool { return e.Uses(mapping.VarEC2PrivateDNSName) }
	return slices.ContainsFunc(m.Roles, uses) || slices.ContainsFunc(m.Users, uses)
}

// Fail records that a backend's newest state cannot be had. What is in force
// stays.
func (s *Store) Fail(name, problem string) {
	s.mu.Lock()
	b := s.backend(name)
	changed := b.problem != problem
	b.problem = problem
	findings := b.findings
	s.mu.Unlock()
	s.report(name, findings, problem, changed)
}

// backend returns what is known of a backend, nothing to begin with.
func (s *Store) backend(name string) *backendState {
	for _, b := range s.backends {
		if b.name == name {
			return b
		}
	}
	b := &backendState{name: name}
	s.backends = append(s.backends, b)
	s.opts.Metrics.Healthy(name, false)
	return b
}

// rebuildLocked makes a new index, swaps it in, and returns what it finds, by
// backend.
func (s *Store) rebuildLocked() map[string][]mapping.Finding {
	st := &snapshot{before: map[string]bool{}}
	var sources []mapping.Source
	for _, name := range s.order {
		b := s.backend(name)
		st.before[b.name] = len(st.waiting) > 0
		if !b.loaded {
			st.waiting = append(st.waiting, b.name)
		}
		if !b.loaded && !b.partly {
			continue
		}
		sources = append(sources, mapping.Source{
			Name: b.name, Mappings: b.mappings,
			StrictUserID: b.name == mapping.BackendDynamicFile && s.opts.StrictUserID,
		})
	}
	var findings []mapping.Finding
	st.index, findings = mapping.NewIndex(sources, mapping.IndexOptions{Partition: s.opts.Partition})
	s.state.Store(st)
	s.opts.Metrics.Mapped(st.index.Len())
	if len(st.waiting) == 0 {
		s.first.Do(func() { close(s.loaded) })
	}
	found := make(map[string][]mapping.Finding)
	for _, f := range findings {
		found[f.Source] = append(found[f.Source], f)
	}
	return found
}

// reportAnew says what is wrong with backends that came into force together.
func (s *Store) reportAnew(backends []*backendState) {
	for _, b := range backends {
		s.mu.Lock()
		findings, problem := b.findings, b.problem
		s.mu.Unlock()
		s.report(b.name, findings, problem, true)
	}
}

// maxLogged bounds how many findings one change may put into the log.
const maxLogged = 50

// report says what is wrong: as metrics always, in the log when it changes.
func (s *Store) report(name string, findings []mapping.Finding, problem string, changed bool) {
	var warnings, failures int
	for _, f := range findings {
		if f.Severity == mapping.Error {
			failures++
		} else {
			warnings++
		}
	}
	s.opts.Metrics.Findings(name, warnings, failures)
	s.opts.Metrics.Healthy(name, problem == "" && failures == 0)
	if !changed {
		return
	}
	for i, f := range findings {
		if i == maxLogged {
			s.opts.Log.Warn("more findings in mappings", "backend", name, "count", len(findings)-i)
			break
		}
		level := slog.LevelWarn
		if f.Severity == mapping.Error {
			level = slog.LevelError
		}
		s.opts.Log.Log(context.Background(), level, "finding in mappings", "backend", name, "finding", f.String())
	}
	if problem != "" {
		s.opts.Log.Error("backend's newest state is not in force", "backend", name, "problem", problem)
		return
	}
	s.opts.Log.Info("mappings in force", "backend", name, "findings", len(findings), "entries", s.Len())
}
