package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/capiam/capiam/pkg/provider/local"
)

// listenControl listens on the cluster's control socket. A socket left by a
// supervisor that was killed is replaced: this process holds the lock, so
// nobody else can be behind it.
func listenControl(l local.Layout) (net.Listener, error) {
	path := l.ControlSocket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the control socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the command line: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the command line: %w", err), listener.Close())
	}
	return listener, nil
}

func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+local.PathStatus, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.status())
	})
	mux.HandleFunc("POST "+local.PathStop, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, struct{}{})
		s.stop()
	})
	mux.HandleFunc("POST "+local.PathIdentities, func(w http.ResponseWriter, r *http.Request) {
		var request local.IdentitiesRequest
		if !decode(w, r, &request) {
			return
		}
		response, err := s.sts.ensure(request.Identities)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, response)
	})
	mux.HandleFunc("POST "+local.PathRestart, func(w http.ResponseWriter, r *http.Request) {
		if err := s.children[authenticatorChild].restart(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST "+local.PathFaults, func(w http.ResponseWriter, r *http.Request) {
		if err := s.sts.setFaults(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, struct{}{})
	})
	return mux
}

func (s *supervisor) status() local.Status {
	s.mu.Lock()
	status := local.Status{PID: os.Getpid(), Started: s.started, Ready: s.ready, Components: []local.ComponentStatus{s.control}}
	s.mu.Unlock()
	for _, c := range s.children {
		status.Components = append(status.Components, c.snapshot())
	}
	status.Components = append(status.Components, local.ComponentStatus{Name: "simulated STS", State: local.StateRunning, PID: os.Getpid()})
	return status
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(into); err != nil {
		http.Error(w, "decode the request: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // whoever hung up needs no answer
}
