package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy is returned when another command is changing the same cluster.
var ErrBusy = errors.New("another capiam command is working on this cluster")

// LockOperation keeps other commands from changing the cluster until the
// returned function is called. It makes the cluster's directory if need be. The
// kernel drops the lock with the process, however that ends.
func LockOperation(l Layout) (unlock func(), err error) {
	// A delete that ends takes the directory away, and the locked file with it.
	const attempts = 10
	for range attempts {
		if err = os.MkdirAll(l.Dir, 0o700); err != nil {
			err = fmt.Errorf("make the cluster's directory: %w", err)
			continue
		}
		lock := flock.New(l.OperationLock(), flock.SetPermissions(0o600))
		var locked bool
		if locked, err = lock.TryLock(); err != nil {
			err = fmt.Errorf("lock cluster %q: %w", filepath.Base(l.Dir), err)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return nil, err
		}
		if !locked {
			return nil, fmt.Errorf("cluster %q: %w; wait for it to end", filepath.Base(l.Dir), ErrBusy)
		}
		if inPlace(lock) {
			return func() { _ = lock.Unlock() }, nil
		}
		_ = lock.Unlock()
		err = fmt.Errorf("cluster %q: %w; try again", filepath.Base(l.Dir), ErrBusy)
	}
	return nil, err
}

// inPlace tells whether the locked file is still the one that others find.
func inPlace(lock *flock.Flock) bool {
	have, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(lock.Path())
	return err == nil && os.SameFile(have, there)
}

// A Running that looks at the lock holds it for a moment, shared; a supervisor
// that starts then waits for so long.
const (
	lockPatience = 500 * time.Millisecond
	lockPoll     = 5 * time.Millisecond
)

// LockSupervisor makes this process the cluster's supervisor, or says that
// there is one.
func LockSupervisor(ctx context.Context, l Layout) (unlock func(), err error) {
	lock := flock.New(l.Lock(), flock.SetPermissions(0o600))
	waitCtx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	locked, err := lock.TryLockContext(waitCtx, lockPoll)
	if err != nil && waitCtx.Err() != nil {
		err = context.Cause(ctx) // nil if only the patience has ended
	}
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
