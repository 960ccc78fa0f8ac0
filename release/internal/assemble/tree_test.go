package assemble

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/capiam/capiam/release/internal/manifest"
)

// TestTreeIsReproducible makes a release of this source tree twice, from copies
// in two directories and the second time with an empty build cache, for one
// platform. It takes minutes, so it runs only when asked to (make test-release).
func TestTreeIsReproducible(t *testing.T) {
	if os.Getenv("CAPIAM_TEST_RELEASE") == "" {
		t.Skip("takes minutes: run make test-release")
	}
	var sums [2]string
	from := "../../.."
	for i := range sums {
		if i == 1 {
			t.Setenv("GOCACHE", t.TempDir())
		}
		dir := filepath.Join(t.TempDir(), "a", "directory", "of", "its", "own")
		copyTree(t, from, dir)
		from = dir // the tree may be worked on meanwhile
		o := options(t)
		o.Tree, o.Platforms = dir, []manifest.Platform{{OS: "linux", Arch: runtime.GOARCH}}
		makeRelease(t, o)
		sums[i] = read(t, o.Out, "SHA256SUMS")
	}
	if sums[0] != sums[1] {
		t.Errorf("two releases of this tree differ:\n%s\n%s", sums[0], sums[1])
	}
}

// copyTree copies the root module's sources.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		in, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch in {
		case ".git", "bin", "dist", "local", filepath.Join("cmd", "capiam-local"):
			return filepath.SkipDir
		}
		at := filepath.Join(to, in)
		if e.IsDir() {
			return os.MkdirAll(at, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
