package build

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/release/internal/manifest"
)

// hello copies the small test program's tree to a directory.
func hello(t *testing.T, dir string) string {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS("testdata/hello")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func here() manifest.Platform { return manifest.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH} }

func compile(t *testing.T, b *Builder, out string) []byte {
	t.Helper()
	var log bytes.Buffer
	b.Log = &log
	if err := b.Program(t.Context(), "hello", here(), out); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestProgramIsReproducible builds the same sources in two directories.
func TestProgramIsReproducible(t *testing.T) {
	t.Parallel()
	var built [2][]byte
	for i := range built {
		dir := hello(t, filepath.Join(t.TempDir(), strings.Repeat("deep/", i*3), "tree"))
		built[i] = compile(t, &Builder{Source: dir, Version: "v1.2.3", Commit: "abc"}, filepath.Join(t.TempDir(), "hello"))
		if bytes.Contains(built[i], []byte(dir)) {
			t.Error("the program holds the path of its sources")
		}
	}
	if !bytes.Equal(built[0], built[1]) {
		t.Error("two builds differ")
	}
}

func TestProgramWithOverlay(t *testing.T) {
	t.Parallel()
	dir := hello(t, t.TempDir())
	replacement := filepath.Join(t.TempDir(), "other.txt")
	if err := os.WriteFile(replacement, []byte("from the overlay\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "hello.exe")
	for want, overlay := range map[string]map[string]string{
		"hello v1.2.3 abc from the tree\n":    nil,
		"hello v1.2.3 abc from the overlay\n": {filepath.Join(dir, "cmd", "hello", "embedded.txt"): replacement},
	} {
		compile(t, &Builder{Source: dir, Version: "v1.2.3", Commit: "abc", Overlay: overlay}, out)
		got, err := exec.Command(out).Output()
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestProgramFails(t *testing.T) {
	t.Parallel()
	b := &Builder{Source: hello(t, t.TempDir()), Version: "v1.2.3", Log: &bytes.Buffer{}}
	out := filepath.Join(t.TempDir(), "x")
	if err := b.Program(t.Context(), "absent", here(), out); err == nil {
		t.Error("a program that does not exist was built")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left a file")
	}
}

// TestEnvironment keeps what would change a build from getting in.
func TestEnvironment(t *testing.T) {
	t.Setenv("GOFLAGS", "-race")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOEXPERIMENT", "x")
	got := strings.Join(environment(manifest.Platform{OS: "linux", Arch: "arm64"}), "\n")
	for _, bad := range []string{"-race", "GOAMD64=v3", "GOEXPERIMENT=x"} {
		if strings.Contains(got, bad) {
			t.Errorf("%s got in", bad)
		}
	}
	for _, want := range []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOAMD64=v1", "PATH="} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestArchiveIsReproducible(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, 3, 4, 5, 6, 7, 89, time.FixedZone("x", 3600))
	for _, name := range []string{"a.tar.gz", "a.zip"} {
		var made [2][]byte
		for i := range made {
			dir := t.TempDir()
			var files []File
			for n, content := range map[string]string{"b": "program", "a": "licence"} {
				path := filepath.Join(dir, n)
				if err := os.WriteFile(path, []byte(content), fs.FileMode(0o600+i*0o44)); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, time.Now(), date.AddDate(i, 0, 0)); err != nil {
					t.Fatal(err)
				}
				files = append(files, File{Name: n, Path: path, Mode: 0o755})
			}
			path := filepath.Join(dir, name)
			if err := Archive(path, files, date.Add(time.Duration(i))); err != nil {
				t.Fatal(err)
			}
			var err error
			if made[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(made[0], made[1]) {
			t.Errorf("%s: two archives differ", name)
		}
	}
}

func TestWriteSums(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"b": "", "a": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteSums(dir, []string{"b", "a"}); err != nil {
		t.Fatal(err)
	}
	const (
		a = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  a\n"
		b = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
	)
	for name, want := range map[string]string{"SHA256SUMS": a + b, "a.sha256": a, "b.sha256": b} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if err := WriteSums(dir, []string{"absent"}); err == nil {
		t.Error("a file that is not there has a checksum")
	}
}
