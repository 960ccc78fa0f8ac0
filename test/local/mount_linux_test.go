package local_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capiam/capiam/test/isolate"
)

// mountSmall puts a file system of so many pages on a directory, until the test
// ends. Outside a mount namespace of its own, the test is skipped.
func mountSmall(t *testing.T, dir string, pages int) {
	t.Helper()
	if !isolate.Inside() {
		t.Skip("no mount namespace")
	}
	size := fmt.Sprintf("size=%d", pages*os.Getpagesize())
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, size); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}
