package oci

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/capiam/capiam/release/internal/build"
	"github.com/capiam/capiam/release/internal/manifest"
)

var created = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// hello builds the small test program for linux on both architectures.
func hello(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		files[arch] = filepath.Join(t.TempDir(), "hello-"+arch)
		var log bytes.Buffer
		b := &build.Builder{Source: "../build/testdata/hello", Version: "v1.2.3", Commit: "abc", Log: &log}
		if err := b.Program(t.Context(), "hello", manifest.Platform{OS: "linux", Arch: arch}, files[arch]); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
	}
	return files
}

// stub stands for a program that is not run.
func stub(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, arch := range []string{"arm64", "amd64"} {
		files[arch] = filepath.Join(t.TempDir(), "hello")
		if err := os.WriteFile(files[arch], []byte("for "+arch), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func index(t *testing.T, files map[string]string) v1.ImageIndex {
	t.Helper()
	index, err := Index(Options{
		Program: "hello", Files: files, Version: "v1.2.3", Revision: "abc",
		Source: "https://example.com/hello", Created: created,
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digest(t *testing.T, d interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// TestPushPullRun pushes an image to a registry in this process, pulls it back
// by the digest it was told, and runs what is in it.
func TestPushPullRun(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	pushed := index(t, hello(t))
	host := strings.TrimPrefix(server.URL, "http://")
	reference, err := Push(t.Context(), pushed, host+"/capiam/hello:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if want := host + "/capiam/hello@" + digest(t, pushed); reference != want {
		t.Errorf("pushed as %s, want %s", reference, want)
	}

	at, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := remote.Image(at, remote.WithContext(t.Context()), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != arch || config.OS != "linux" || config.Config.User != Unprivileged ||
			strings.Join(config.Config.Entrypoint, " ") != "/hello" || config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" {
			t.Errorf("%s: config %+v", arch, config)
		}
		root := unpack(t, image)
		checkRoot(t, root)
		if arch == runtime.GOARCH && runtime.GOOS == "linux" {
			out, err := exec.Command(filepath.Join(root, "hello")).Output()
			if err != nil || string(out) != "hello v1.2.3 abc from the tree\n" {
				t.Errorf("the program in the image says %q, %v", out, err)
			}
		}
	}
}

// unpack writes an image's root file system to a directory.
func unpack(t *testing.T, image v1.Image) string {
	t.Helper()
	root := t.TempDir()
	content := mutate.Extract(image)
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(created) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, h.FileInfo().Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

func checkRoot(t *testing.T, root string) {
	t.Helper()
	certificates, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(caFile)))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificates) {
		t.Error("no root certificates")
	}
	// AWS's endpoints are signed by Amazon's own roots.
	if n := bytes.Count(certificates, []byte("BEGIN CERTIFICATE")); n < 80 {
		t.Errorf("%d root certificates, want Mozilla's", n)
	}
	passwd, err := os.ReadFile(filepath.Join(root, "etc", "passwd"))
	if err != nil || !strings.Contains(string(passwd), "nonroot:x:65532:65532:") {
		t.Errorf("passwd %q, %v", passwd, err)
	}
}

// TestImageIsReproducible makes an image of equal programs in two places.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	a, b := index(t, stub(t)), index(t, stub(t))
	if digest(t, a) != digest(t, b) {
		t.Error("two images differ")
	}
	var archives [2][]byte
	for i, index := range []v1.ImageIndex{a, b} {
		dir := filepath.Join(t.TempDir(), "layout")
		if err := WriteLayout(dir, index, "registry.example.com/hello:v1.2.3"); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "hello.oci.tar")
		if err := WriteOCIArchive(path, dir, created); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two OCI archives differ")
	}
}

func TestImageFiles(t *testing.T) {
	t.Parallel()
	index := index(t, stub(t))
	dir := filepath.Join(t.TempDir(), "layout")
	if err := WriteLayout(dir, index, "registry.example.com/hello:v1.2.3"); err != nil {
		t.Fatal(err)
	}
	read, err := ReadLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if digest(t, read) != digest(t, index) {
		t.Error("the layout has another digest")
	}
	if err := validate.Index(read); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "hello.docker.tar")
	if err := WriteDockerArchive(path, index, "arm64", "registry.example.com/hello:v1.2.3"); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("registry.example.com/hello:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := image.ConfigFile(); err != nil || config.Architecture != "arm64" {
		t.Errorf("config %+v, %v", config, err)
	}
	checkRoot(t, unpack(t, image))
	if err := WriteDockerArchive(path, index, "riscv64", "registry.example.com/hello:v1.2.3"); err == nil {
		t.Error("an architecture that is not there was written")
	}
}

func TestPushFails(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	host := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	index := index(t, stub(t))
	for _, reference := range []string{host + "/hello:v1", "not a reference"} {
		if _, err := Push(t.Context(), index, reference); err == nil {
			t.Errorf("%s: accepted", reference)
		}
	}
}
