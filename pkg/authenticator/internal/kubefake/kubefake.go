// Package kubefake is a small, honest API server for tests of the backends: it
// lists and watches objects over HTTP with resource versions, takes creations
// and status updates, and can cut its watches, go away and refuse.
package kubefake

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Object is an API object as JSON has it.
type Object = map[string]any

// Server is the API server.
type Server struct {
	URL string

	mu      sync.Mutex
	version int
	objects map[string]Object // by path
	history []event
	changed chan struct{}
	cut     chan struct{}
	refuse  int
	hangUp  bool
	lists   int
	watches int
	hold    chan struct{} // nil lets writes through
	held    int
}

type event struct {
	version int
	kind    string
	path    string
	object  Object
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{objects: map[string]Object{}, changed: make(chan struct{}), cut: make(chan struct{}), version: 1}
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		s.CutWatches()
		h.CloseClientConnections()
		h.Close()
	})
	return s
}

// Config says how the server is reached.
func (s *Server) Config() *rest.Config { return &rest.Config{Host: s.URL, QPS: 1000, Burst: 1000} }

// Client returns a client of the server.
func (s *Server) Client(t testing.TB) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Put creates or replaces an object; path is that of a GET.
func (s *Server) Put(path string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, o)
}

func (s *Server) put(path string, o Object) {
	s.version++
	kind := "ADDED"
	meta, _ := o["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta = cloneMap(meta)
	if old := s.objects[path]; old != nil {
		kind = "MODIFIED"
		oldMeta := old["metadata"].(map[string]any)
		meta["uid"], meta["creationTimestamp"] = oldMeta["uid"], oldMeta["creationTimestamp"]
	}
	if meta["uid"] == nil {
		meta["uid"] = "uid-" + strconv.Itoa(s.version)
	}
	meta["resourceVersion"] = strconv.Itoa(s.version)
	o = cloneMap(o)
	o["metadata"] = meta
	s.objects[path] = o
	s.history = append(s.history, event{s.version, kind, path, o})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Delete removes an object.
func (s *Server) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[path]
	if o == nil {
		return
	}
	s.version++
	delete(s.objects, path)
	o = cloneMap(o)
	meta := cloneMap(o["metadata"].(map[string]any))
	meta["resourceVersion"] = strconv.Itoa(s.version)
	o["metadata"] = meta
	s.history = append(s.history, event{s.version, "DELETED", path, o})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Get returns a copy of an object whose own fields may be set, or nil.
func (s *Server) Get(path string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[path] == nil {
		return nil
	}
	return cloneMap(s.objects[path])
}

// Under returns the objects whose path starts with a prefix.
func (s *Server) Under(prefix string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Object
	for p, o := range s.objects {
		if strings.HasPrefix(p, prefix) {
			all = append(all, o)
		}
	}
	return all
}

// CutWatches ends every watch.
func (s *Server) CutWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.cut)
	s.cut = make(chan struct{})
}

// Refuse answers every request with a status; 0 answers again. It ends watches.
func (s *Server) Refuse(status int) {
	s.mu.Lock()
	s.refuse = status
	s.mu.Unlock()
	s.CutWatches()
}

// HangUp closes the connection of every watch that is asked for, without an
// answer, or answers again. It ends watches.
func (s *Server) HangUp(yes bool) {
	s.mu.Lock()
	s.hangUp = yes
	s.mu.Unlock()
	s.CutWatches()
}

// HoldWrites keeps every write waiting until release is called, which must be
// before the test ends.
func (s *Server) HoldWrites() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hold = nil
		close(hold)
	}
}

// Held returns how many writes were kept waiting so far.
func (s *Server) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// waitForRelease waits while writes are held, and tells whether whoever asked is
// still there.
func (s *Server) waitForRelease(r *http.Request) bool {
	s.mu.Lock()
	hold := s.hold
	if hold != nil {
		s.held++
	}
	s.mu.Unlock()
	if hold == nil {
		return true
	}
	select {
	case <-hold:
		return true
	case <-r.Context().Done():
		return false
	}
}

// Counts returns how many lists and watches were asked for.
func (s *Server) Counts() (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.watches
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse, hangUp := s.refuse, s.hangUp
	s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case refuse != 0:
		status(w, refuse, "refused")
	case r.Method != http.MethodGet && !s.waitForRelease(r):
	case r.Method == http.MethodPost:
		s.create(w, r)
	case r.Method == http.MethodPut:
		s.update(w, r)
	case q.Get("sendInitialEvents") != "":
		status(w, http.StatusUnprocessableEntity, "sendInitialEvents is not supported")
	case q.Get("watch") != "" && hangUp:
		panic(http.ErrAbortHandler)
	case q.Get("watch") != "":
		s.watch(w, r)
	default:
		s.list(w, r)
	}
}

func status(w http.ResponseWriter, code int, message string) {
	reason := map[int]string{403: "Forbidden", 404: "NotFound", 410: "Expired", 422: "Invalid"}[code]
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

// selected tells whether an object is one of those a request is about.
func selected(path string, r *http.Request) bool {
	collection := r.URL.Path + "/"
	name, ok := strings.CutPrefix(path, collection)
	if !ok || strings.Contains(name, "/") {
		return false
	}
	want, only := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	return !only || want == name
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.lists++
	items := []any{}
	for p, o := range s.objects {
		if selected(p, r) {
			items = append(items, o)
		}
	}
	version := strconv.Itoa(s.version)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	apiVersion := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
	kind := "List"
	if strings.HasSuffix(r.URL.Path, "/configmaps") {
		kind = "ConfigMapList"
	}
	_ = json.NewEncoder(w).Encode(Object{
		"kind": kind, "apiVersion": strings.Join(strings.Split(apiVersion, "/")[:1], "/"),
		"metadata": Object{"resourceVersion": version}, "items": items,
	})
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		status(w, http.StatusGone, "no resource version")
		return
	}
	s.mu.Lock()
	s.watches++
	cut := s.cut
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher)
	flush.Flush()
	enc := json.NewEncoder(w)
	for {
		s.mu.Lock()
		changed := s.changed
		var todo []event
		for _, e := range s.history {
			if e.version > since && selected(e.path, r) {
				todo = append(todo, e)
			}
		}
		since = s.version
		s.mu.Unlock()
		for _, e := range todo {
			if enc.Encode(Object{"type": e.kind, "object": e.object}) != nil {
				return
			}
		}
		flush.Flush()
		select {
		case <-changed:
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var o Object
	if json.NewDecoder(r.Body).Decode(&o) != nil {
		status(w, http.StatusBadRequest, "not JSON")
		return
	}
	name := o["metadata"].(map[string]any)["name"].(string)
	s.mu.Lock()
	s.put(r.URL.Path+"/"+name, o)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(o)
}

func (s *Server) update(w http.ResponseWriter, r *http.Request) {
	var o Object
	if json.NewDecoder(r.Body).Decode(&o) != nil {
		status(w, http.StatusBadRequest, "not JSON")
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/status")
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.objects[path]
	if old == nil {
		status(w, http.StatusNotFound, "not there")
		return
	}
	next := cloneMap(old)
	next["status"] = o["status"]
	s.put(path, next)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.objects[path])
}

func cloneMap(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
