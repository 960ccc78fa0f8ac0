package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
)

// api is as much of an API server as a watcher of aws-auth needs: it lists none
// and sends each state to whoever watches.
type api struct {
	server *httptest.Server
	events chan []byte

	mu      sync.Mutex
	version int
}

func newAPI() *api {
	a := &api{events: make(chan []byte), version: 1}
	a.server = httptest.NewServer(a)
	return a
}

func (a *api) url() string { return a.server.URL }

func (a *api) close() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// prepare makes the event of a state; send waits until the watch has it.
func (a *api) prepare(data map[string]string) (send func(context.Context) error, err error) {
	a.mu.Lock()
	a.version++
	version := strconv.Itoa(a.version)
	kind := "MODIFIED"
	if a.version == 2 {
		kind = "ADDED"
	}
	a.mu.Unlock()
	event, err := json.Marshal(map[string]any{
		"type": kind,
		"object": map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "data": data,
			"metadata": map[string]any{"name": "aws-auth", "namespace": "kube-system", "uid": "1", "resourceVersion": version},
		},
	})
	return func(ctx context.Context) error {
		select {
		case a.events <- append(event, '\n'):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, err
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`))
	case r.URL.Query().Get("watch") == "":
		_, _ = w.Write([]byte(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`))
	default:
		flush, _ := w.(http.Flusher)
		w.WriteHeader(http.StatusOK)
		flush.Flush()
		for {
			select {
			case e := <-a.events:
				if _, err := w.Write(e); err != nil {
					return
				}
				flush.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}
