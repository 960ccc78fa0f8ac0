package assemble

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/release/internal/manifest"
	"github.com/capiam/capiam/release/internal/oci"
)

var date = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// tree makes a source tree that has all that a release is made of, and is
// compiled in no time: its programs print the manifest they have built in.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.CopyFS(dir, os.DirFS("testdata/tree")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bundles.yaml", "capiam.yaml", "sources/eksd.yaml", "sources/release.yaml"} {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "release", name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func options(t *testing.T) Options {
	t.Helper()
	platforms := []manifest.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}, {OS: "windows", Arch: "amd64"}}
	if here := (manifest.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); !slices.Contains(platforms, here) {
		platforms = append(platforms, here)
	}
	return Options{
		Tree: tree(t), Out: filepath.Join(t.TempDir(), "dist"),
		Version: "v0.9.0-rc.1", Commit: "abc", Date: date, Platforms: platforms,
		BaseURL: "https://dl.example.com/capiam", ImageRepository: "registry.example.com/capiam",
		Log: &bytes.Buffer{},
	}
}

func makeRelease(t *testing.T, o Options) Result {
	t.Helper()
	result, err := Release(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, o.Log)
	}
	return result
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRelease makes a release and follows its manifest back to its files.
func TestRelease(t *testing.T) {
	t.Parallel()
	o := options(t)
	result := makeRelease(t, o)
	sums := read(t, o.Out, "SHA256SUMS")
	for _, name := range []string{
		"capiam-linux-amd64-v0.9.0-rc.1.tar.gz", "capiam-windows-amd64-v0.9.0-rc.1.zip",
		"capiam-authenticator-linux-arm64-v0.9.0-rc.1.tar.gz", "capiam-authenticator-v0.9.0-rc.1.oci.tar",
		"capiam-authenticator-linux-amd64-v0.9.0-rc.1.docker.tar", "capiam-v0.9.0-rc.1.spdx.json",
		"capiam.yaml", "bundles.yaml",
	} {
		if !slices.Contains(result.Files, name) || !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("%s is missing", name)
		}
		if line := read(t, o.Out, name+".sha256"); !strings.Contains(sums, line) {
			t.Errorf("%s.sha256 says %q, which SHA256SUMS does not", name, line)
		}
	}

	m, err := release.LoadFS(os.DirFS(filepath.Join(o.Out, "manifest")))
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.ClientNamed("capiam", "1.36", "linux", "amd64")
	if err != nil || !strings.Contains(sums, a.SHA256+"  capiam-linux-amd64-v0.9.0-rc.1.tar.gz\n") ||
		a.URI != "https://dl.example.com/capiam/v0.9.0-rc.1/capiam-linux-amd64-v0.9.0-rc.1.tar.gz" {
		t.Errorf("client %+v, %v", a, err)
	}
	image, err := m.CapiamImage("1.36")
	if err != nil {
		t.Fatal(err)
	}
	index, err := oci.ReadLayout(filepath.Join(o.Out, result.Images[image.URI]))
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := index.Digest(); err != nil || digest.String() != image.Digest {
		t.Errorf("image %+v, but the layout has %v, %v", image, digest, err)
	}

	// The program in the archive knows the image, but not its own archive.
	inside, err := release.LoadFS(fstest.MapFS{
		"bundles.yaml": {Data: []byte(read(t, o.Out, "bundles.yaml"))},
		"capiam.yaml":  {Data: run(t, o)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inside.CapiamImage("1.36"); err != nil || got != image {
		t.Errorf("built in is %+v, %v; want %+v", got, err, image)
	}
	if got, err := inside.ClientNamed("capiam", "1.36", "linux", "amd64"); err != nil || got.ChecksumKnown() || got.URI != a.URI {
		t.Errorf("built in is %+v, %v", got, err)
	}
}

// run unpacks and runs this machine's capiam of a release.
func run(t *testing.T, o Options) []byte {
	t.Helper()
	name := manifest.ArchiveName("capiam", o.Version, manifest.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH})
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", filepath.Join(o.Out, name), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, release.ProgramName("capiam", runtime.GOOS))).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReleaseIsReproducible makes a release of two copies of the tree, one of
// which has another manifest checked in.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	a, b := options(t), options(t)
	if err := os.WriteFile(filepath.Join(b.Tree, "release", "capiam.yaml"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	makeRelease(t, a)
	makeRelease(t, b)
	if x, y := read(t, a.Out, "SHA256SUMS"), read(t, b.Out, "SHA256SUMS"); x != y {
		t.Errorf("two releases differ:\n%s\n%s", x, y)
	}
}

func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "0.1.0", "v1", "v1.2", "v01.2.3", "v1.2.3+x", "latest"} {
		if err := CheckVersion(version); err == nil {
			t.Errorf("version %q: accepted", version)
		}
	}
	o := options(t)
	o.Out = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Out, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Release(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Out, "precious")); err != nil {
		t.Errorf("a file of somebody's was removed: %v", err)
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	o := options(t)
	for range 2 { // the second run replaces the first
		result, err := Images(t.Context(), o)
		if err != nil {
			t.Fatalf("%v\n%s", err, o.Log)
		}
		if len(result.Images) != 1 || len(result.Files) != 3 {
			t.Errorf("images %v, files %v", result.Images, result.Files)
		}
	}
}
