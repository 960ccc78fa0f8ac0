package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwnAsTheInitContainer does what the init container does, with its rights:
// root, and of root's capabilities CHOWN alone. The server's user may change.
func TestOwnAsTheInitContainer(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	around := t.TempDir()
	dir := filepath.Join(around, "mappings")
	saved := filepath.Join(dir, "aws-auth.last-good.json")
	want := func(path string, user, group int, mode os.FileMode) {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
			return
		}
		s := info.Sys().(*syscall.Stat_t)
		if int(s.Uid) != user || int(s.Gid) != group || info.Mode().Perm() != mode {
			t.Errorf("%s is %d:%d %s, want %d:%d %s", path, s.Uid, s.Gid, info.Mode().Perm(), user, group, mode)
		}
	}
	steps := []struct {
		name        string
		prepare     func() error
		user, group int
	}{
		{"new", func() error { return nil }, 65532, 65532},
		{"with a file of the server's, and links", func() error {
			for _, err := range []error{
				os.WriteFile(saved, []byte("{}"), 0o600), os.Chown(saved, 65532, 65532),
				os.Symlink(outside, filepath.Join(dir, "link")), os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link-to-directory")),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		}, 65532, 65532},
		{"another user", func() error { return nil }, 1000, 2000},
		{"cut short", func() error { return os.Chown(dir, 0, 0) }, 1001, 2000},
		{"another group", func() error { return nil }, 1001, 2001},
		{"a mode that keeps everybody out", func() error { return os.Chmod(dir, 0) }, 1001, 2001},
	}
	for i, step := range steps {
		if err := step.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := onlyChown(func() error { return own(dir, step.user, step.group) }); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		want(dir, step.user, step.group, 0o700)
		if i > 0 {
			want(saved, step.user, step.group, 0o600)
			want(filepath.Join(dir, "link"), 0, 0, 0o777)
			want(filepath.Join(dir, "link-to-directory"), 0, 0, 0o777)
		}
		want(outside, 0, 0, 0o600)
		want(filepath.Dir(outside), 0, 0, 0o755)
		want(around, 0, 0, 0o755)
	}
}

// onlyChown runs something with no capability but CHOWN, on a thread of its own,
// which ends with it.
func onlyChown(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: nobody else gets this thread
		caps := [2]unix.CapUserData{}
		caps[0].Effective = 1 << unix.CAP_CHOWN
		caps[0].Permitted = caps[0].Effective
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]); err != nil {
			done <- fmt.Errorf("give capabilities up: %w", err)
			return
		}
		done <- do()
	}()
	return <-done
}
