package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSockets(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{
		"/home/u/.local/share/capiam/clusters/c",
		"/" + strings.Repeat("d", 86),
		"/" + strings.Repeat("d", 87),
		"/" + strings.Repeat("deep/", 50) + "c",
	} {
		l := Layout{Dir: dir}
		for _, path := range []string{l.ControlSocket(), l.EtcdSocket(), l.EtcdPeerSocket()} {
			// macOS has room for 104 bytes, with the zero at the end.
			if len(path) > 103 {
				t.Errorf("%s has %d bytes", path, len(path))
			}
		}
		if inside := filepath.Dir(l.ControlSocket()) == dir; inside != (len(dir) <= 87) {
			t.Errorf("sockets of a directory of %d bytes are in %s", len(dir), filepath.Dir(l.ControlSocket()))
		}
	}
	one, other := Layout{Dir: "/" + strings.Repeat("a", 200)}, Layout{Dir: "/" + strings.Repeat("b", 200)}
	if one.ControlSocket() == other.ControlSocket() {
		t.Error("two clusters have one socket")
	}
}

func TestPrepareSockets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		ok   bool
	}{
		{"nothing there", func(*testing.T, string) {}, true},
		{"my own", func(t *testing.T, dir string) { mkdir(t, dir, 0o700) }, true},
		{"open to others", func(t *testing.T, dir string) { mkdir(t, dir, 0o755) }, false},
		{"a file", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a link", func(t *testing.T, dir string) {
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// Deep enough for sockets elsewhere, at a place of this test's own.
			l := Layout{Dir: filepath.Join(t.TempDir(), strings.Repeat("deep", 30))}
			dir := l.sockets()
			if filepath.Dir(dir) != shortDir {
				t.Fatalf("sockets in %s", dir)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			test.make(t, dir)
			if err := l.PrepareSockets(); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

func TestRoot(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for data, want := range map[string]string{
		"":          filepath.Join(home, ".local", "share", "capiam", "clusters"),
		"/data":     "/data/capiam/clusters",
		"relative/": filepath.Join(home, ".local", "share", "capiam", "clusters"), // as the specification says
	} {
		t.Setenv("XDG_DATA_HOME", data)
		if got, err := Root(); err != nil || got != want {
			t.Errorf("XDG_DATA_HOME=%q: %s, %v; want %s", data, got, err, want)
		}
	}
}
