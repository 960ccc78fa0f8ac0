package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrBusy is returned when another command is changing the same cluster.
var ErrBusy = errors.New("another capiam command is working on this cluster")

// LockOperation keeps other commands from changing the cluster until the
// returned function is called. It makes the cluster's directory if need be. The
// kernel drops the lock with the process, however that ends.
func LockOperation(l Layout) (unlock func(), err error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cluster's directory: %w", err)
	}
	lock := flock.New(l.OperationLock(), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock cluster %q: %w", filepath.Base(l.Dir), err)
	}
	if !locked {
		return nil, fmt.Errorf("cluster %q: %w; wait for it to end", filepath.Base(l.Dir), ErrBusy)
	}
	return func() { _ = lock.Unlock() }, nil
}

// LockSupervisor makes this process the cluster's supervisor, or says that
// there is one.
func LockSupervisor(l Layout) (unlock func(), err error) {
	lock := flock.New(l.Lock(), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock cluster %q: %w", filepath.Base(l.Dir), err)
	}
	if !locked {
		return nil, fmt.Errorf("cluster %q is already running", filepath.Base(l.Dir))
	}
	return func() { _ = lock.Unlock() }, nil
}

// Running tells whether a supervisor lives.
func Running(l Layout) (bool, error) {
	if _, err := os.Stat(l.Lock()); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock := flock.New(l.Lock(), flock.SetPermissions(0o600))
	locked, err := lock.TryRLock()
	if err != nil {
		return false, fmt.Errorf("look for the supervisor of cluster %q: %w", filepath.Base(l.Dir), err)
	}
	if locked {
		return false, lock.Unlock()
	}
	return true, nil
}
