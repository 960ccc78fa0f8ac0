package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

func testLayout(t *testing.T) Layout {
	t.Helper()
	return Layout{Dir: filepath.Join(t.TempDir(), "clusters", "c1")}
}

func TestLockOperation(t *testing.T) {
	t.Parallel()
	l := testLayout(t)
	unlock, err := LockOperation(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockOperation(l); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), `"c1"`) {
		t.Errorf("a second command got %v, want %v", err, ErrBusy)
	}
	// A delete takes the locked file away; the lock on it is then worth nothing.
	if err := os.RemoveAll(l.Dir); err != nil {
		t.Fatal(err)
	}
	again, err := LockOperation(l)
	if err != nil {
		t.Fatalf("after a delete: %v", err)
	}
	if _, err := LockOperation(l); !errors.Is(err, ErrBusy) {
		t.Errorf("after a delete, a second command got %v, want %v", err, ErrBusy)
	}
	unlock()
	again()
	last, err := LockOperation(l)
	if err != nil {
		t.Fatal(err)
	}
	last()
}

func TestLockOperationOfReplacedFile(t *testing.T) {
	t.Parallel()
	l := testLayout(t)
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock := flock.New(l.OperationLock())
	if ok, err := lock.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { _ = lock.Unlock() })
	if !inPlace(lock) {
		t.Error("the lock is not taken for the one that others find")
	}
	if err := os.Remove(l.OperationLock()); err != nil {
		t.Fatal(err)
	}
	if inPlace(lock) {
		t.Error("the lock of a removed file is taken for the one that others find")
	}
	if err := os.WriteFile(l.OperationLock(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if inPlace(lock) {
		t.Error("the lock of a replaced file is taken for the one that others find")
	}
}

func TestLockOperationNowhere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockOperation(Layout{Dir: filepath.Join(file, "c1")}); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestLockSupervisor(t *testing.T) {
	t.Parallel()
	l := testLayout(t)
	if running, err := Running(l); err != nil || running {
		t.Errorf("running %t, %v; want a cluster that is not there to be stopped", running, err)
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := LockSupervisor(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if running, err := Running(l); err != nil || !running {
		t.Errorf("running %t, %v; want true", running, err)
	}
	if _, err := LockSupervisor(t.Context(), l); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("a second supervisor got %v", err)
	}
	unlock()
	if running, err := Running(l); err != nil || running {
		t.Errorf("running %t, %v; want false", running, err)
	}
}

// TestLockSupervisorBesideReader starts a supervisor at the moment at which
// somebody looks whether there is one.
func TestLockSupervisorBesideReader(t *testing.T) {
	t.Parallel()
	l := testLayout(t)
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	reader := flock.New(l.Lock())
	if ok, err := reader.TryRLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	locked := make(chan error, 1)
	go func() {
		unlock, err := LockSupervisor(context.Background(), l)
		if err == nil {
			unlock()
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		t.Errorf("got %v while somebody looks", err)
	case <-time.After(5 * lockPoll):
		if err := reader.Unlock(); err != nil {
			t.Fatal(err)
		}
		if err := <-locked; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := LockSupervisor(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of an ended context", err)
	}
}
