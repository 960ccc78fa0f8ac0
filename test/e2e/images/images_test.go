package images

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "lib", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib", "deep", "x.so"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "all.tar")
	const reference = "registry.example.com/a/program:v1"
	err := Write(archive, []Image{{
		Reference: reference, Entrypoint: []string{"/usr/bin/program"},
		Files: map[string]string{"/usr/bin/program": program, "/usr/lib": filepath.Join(dir, "lib")},
		Links: map[string]string{"/usr/bin/also": "program"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/program"}) || config.OS != "linux" {
		t.Errorf("configuration %+v", config)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	layer, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	var names []string
	for reader := tar.NewReader(layer); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	want := []string{"usr/", "usr/bin/", "usr/bin/program", "usr/lib/", "usr/lib/deep/", "usr/lib/deep/x.so", "usr/bin/also"}
	if !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}

// TestCurrent: an archive is made anew when one of its programs is newer.
func TestCurrent(t *testing.T) {
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "program"), filepath.Join(dir, "archive")
	if current(archive, nil) {
		t.Error("an archive is current that does not exist")
	}
	for _, path := range []string{program, archive} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !current(archive, []string{program}) {
		t.Error("an archive is not current that is newer than its program")
	}
	if current(archive, []string{program, filepath.Join(dir, "missing")}) {
		t.Error("an archive is current whose program is missing")
	}
}
