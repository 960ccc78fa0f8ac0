package local_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// tree is what lies below the machine's directories.
func (m *machine) tree(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{}
	for _, root := range []string{m.work, m.data, m.home} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			s[path] = info.Mode().String()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestRefusedCreate tries creates that cannot be, and must leave nothing.
func TestRefusedCreate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	text := example(t, "local.yaml")
	spec := m.write("spec.yaml", text)
	refused := func(t *testing.T, args []string, texts ...string) {
		t.Helper()
		before := m.tree(t)
		m.refused(append([]string{"create", "cluster"}, args...), texts...)
		wantSame(t, "a refused create", before, m.tree(t))
	}

	m.step("a port that is taken", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		taken := m.write("port.yaml", replace(t, text, "kind: LocalDatacenterConfig\nmetadata:\n  name: local\n",
			fmt.Sprintf("kind: LocalDatacenterConfig\nmetadata:\n  name: local\nspec:\n  apiServerPort: %d\n", port)))
		refused(t, []string{"-f", taken}, fmt.Sprintf("port %d on 127.0.0.1 is taken", port))
	})
	m.step("a file where the directory should be", func(t *testing.T) {
		m.write("file", "")
		refused(t, []string{"-f", spec, "--output-dir", "file"}, "not a directory", "--output-dir")
		refused(t, []string{"-f", spec, "--output-dir", "file/below"}, "not a directory", "--output-dir")
	})
	m.step("a file that would be overwritten", func(t *testing.T) {
		if err := os.Mkdir(filepath.Join(m.work, "local"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(m.work, "local", "aws-config")
		if err := os.WriteFile(path, []byte("[default]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{"-f", spec}, "aws-config exists")
		if err := os.RemoveAll(filepath.Join(m.work, "local")); err != nil {
			t.Fatal(err)
		}
	})
	m.step("a directory that cannot be written", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		closed := filepath.Join(m.work, "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{"-f", spec, "--output-dir", closed}, "permission denied", "--output-dir")
	})
	m.step("a full disk", func(t *testing.T) {
		full := filepath.Join(m.work, "full")
		if err := os.Mkdir(full, 0o700); err != nil {
			t.Fatal(err)
		}
		// Room for a directory, and a kubeconfig, but not for all files.
		mountSmall(t, full, 3)
		refused(t, []string{"-f", spec, "--output-dir", full}, "no space left on device")
		if left := m.processes(); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
	})
}
