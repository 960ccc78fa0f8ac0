package atomicfile

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "file")
	for _, step := range []struct {
		content string
		changed bool
	}{{"one", true}, {"one", false}, {"two", true}} {
		changed, err := Write(path, []byte(step.content), Private)
		if err != nil {
			t.Fatal(err)
		}
		if changed != step.changed {
			t.Errorf("writing %q: changed = %v, want %v", step.content, changed, step.changed)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != step.content {
			t.Errorf("read %q, %v; want %q", got, err, step.content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != Private {
		t.Errorf("mode %v, want %v", info.Mode().Perm(), Private)
	}
}

func TestWriteNarrowsMode(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has no group and other bits")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("same"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed, err := Write(path, []byte("same"), Private); err != nil || !changed {
		t.Fatalf("changed %v, %v; want true, nil", changed, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != Private {
		t.Errorf("mode %v, want %v", info.Mode().Perm(), Private)
	}
}

// TestWriteLeavesNothing writes where a directory is in the way, which fails at
// the last moment, the rename.
func TestWriteLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(path, []byte("x"), Private); err == nil {
		t.Fatal("no error")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v; want only the directory", entries, err)
	}
}
