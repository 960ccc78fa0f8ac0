package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Programs are the paths of the programs a local cluster consists of.
type Programs struct {
	// Supervisor is capiam-local.
	Supervisor string
	// Authenticator is capiam-authenticator.
	Authenticator string
}

// FindPrograms finds the programs beside this one, and then in PATH.
func FindPrograms() (Programs, error) {
	if runtime.GOOS == "windows" {
		return Programs{}, errors.New("local clusters need Linux or macOS; on Windows, run capiam in WSL")
	}
	self, err := os.Executable()
	if err != nil {
		return Programs{}, fmt.Errorf("find capiam-local: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	var p Programs
	for name, path := range map[string]*string{"capiam-local": &p.Supervisor, "capiam-authenticator": &p.Authenticator} {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			*path = beside
			continue
		}
		if *path, err = exec.LookPath(name); err != nil {
			return Programs{}, fmt.Errorf("find %s: it is neither in %s nor in PATH; build it with `make build`", name, filepath.Dir(self))
		}
	}
	return p, nil
}

// Start starts the cluster's supervisor if none runs, and returns once it
// answers; the API server may not be ready yet. The supervisor outlives this
// process. If ctx ends first, what was started is stopped again.
func Start(ctx context.Context, l Layout, p Programs) error {
	control := NewControl(l)
	child := &spawned{}
	for {
		if _, err := control.Status(ctx); err == nil {
			return nil
		}
		if child.process == nil {
			// Again and again: one that somebody else has started may end.
			running, err := Running(l)
			if err != nil {
				return err
			}
			if !running {
				if child, err = spawnChecked(l, p); err != nil {
					return err
				}
			}
		}
		select {
		case <-child.ended:
			// A command that was killed may have started one just before.
			if running, err := Running(l); err == nil && running {
				child = &spawned{}
				continue
			}
			return fmt.Errorf("the supervisor ended: %w%s", child.err, l.lastWords())
		case <-ctx.Done():
			// Nobody else could tell it to stop: it may not even have its
			// lock yet.
			child.stop()
			return fmt.Errorf("wait for the supervisor: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// spawnChecked starts the supervisor if the cluster's ports are free. They are
// not if a supervisor has come up meanwhile, and then there is none to start.
func spawnChecked(l Layout, p Programs) (*spawned, error) {
	record, err := ReadRecord(l)
	if err != nil {
		return nil, err
	}
	for name, port := range record.Ports.All() {
		taken := PortFree(port)
		if taken == nil {
			continue
		}
		if running, err := Running(l); err != nil || running {
			return &spawned{}, err
		}
		return nil, fmt.Errorf("start %s: %w; stop whoever has it, or delete and create the cluster for new ports", name, taken)
	}
	return spawn(l, p)
}

// spawned is a supervisor that this process has started. Its zero value is one
// that somebody else has.
type spawned struct {
	process *os.Process
	// ended is closed when it has ended, while this process still lives, and
	// err says how.
	ended chan struct{}
	err   error
}

// stop ends the supervisor with all its parts, and waits for that.
func (s *spawned) stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.process.Kill()
		<-s.ended
	}
}

// spawn starts the supervisor.
func spawn(l Layout, p Programs) (*spawned, error) {
	path := l.Log("capiam-local")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(p.Supervisor, "run", "--dir", l.Dir, "--authenticator", p.Authenticator)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = l.Dir
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	child := &spawned{process: cmd.Process, ended: make(chan struct{})}
	go func() {
		child.err = cmd.Wait()
		if child.err == nil {
			child.err = errors.New("with status 0")
		}
		close(child.ended)
	}()
	return child, nil
}

// WaitReady waits until the API server is ready. It gives up when the
// supervisor does.
func WaitReady(ctx context.Context, l Layout) error {
	control := NewControl(l)
	for {
		status, err := control.Status(ctx)
		if err == nil && status.Ready {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			if running, lockErr := Running(l); lockErr == nil && !running {
				return fmt.Errorf("the control plane ended%s", l.lastWords())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop stops the cluster's supervisor and all its parts, and waits for their
// end. A cluster that does not run is stopped already.
func Stop(ctx context.Context, l Layout) error {
	control := NewControl(l)
	asked := false
	for {
		running, err := Running(l)
		if err != nil || !running {
			return err
		}
		if !asked {
			// It may be starting or stopping and not answer yet or any more.
			asked = control.Stop(ctx) == nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop cluster %q: %w", filepath.Base(l.Dir), context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Remove deletes everything below the cluster's directory. The cluster must be
// stopped.
func Remove(l Layout) error {
	if running, err := Running(l); err != nil || running {
		return errors.Join(err, fmt.Errorf("remove cluster %q: it is running", filepath.Base(l.Dir)))
	}
	// The record goes last: until then the cluster can be deleted again.
	entries, err := os.ReadDir(l.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cluster: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(l.Dir, entry.Name())
		if path == l.Record() || path == l.OperationLock() {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove cluster: %w", err)
		}
	}
	if l.sockets() != l.Dir {
		if err := os.RemoveAll(l.sockets()); err != nil {
			return fmt.Errorf("remove cluster: %w", err)
		}
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("remove cluster: %w", err)
	}
	return nil
}
