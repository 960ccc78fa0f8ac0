// Package images makes the container images of a Kubernetes node, each from
// programs on this machine alone: from nothing, in one layer, without a registry.
// Nodes import them as archives.
package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is one to make.
type Image struct {
	// Reference is what pods call it.
	Reference string
	// Files are the paths in the image and what they are copies of. Directories
	// are copied with what is in them, links as what they point at.
	Files map[string]string
	// Links are symbolic links in the image and their targets.
	Links map[string]string
	// Entrypoint may be empty for what is always started by name.
	Entrypoint []string
}

// Write writes images to one archive that `ctr images import` reads.
func Write(path string, all []Image) (err error) {
	made := map[name.Tag]v1.Image{}
	for _, image := range all {
		tag, err := name.NewTag(image.Reference)
		if err != nil {
			return err
		}
		if made[tag], err = image.make(); err != nil {
			return fmt.Errorf("image %s: %w", image.Reference, err)
		}
	}
	file, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	err = tarball.MultiWrite(made, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), path)
}

func (i Image) make() (v1.Image, error) {
	// Not compressed: it is read a moment later on the same machine.
	layer, err := tarball.LayerFromOpener(i.layer, tarball.WithCompression(compression.None))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture()
	config.Config.Entrypoint = i.Entrypoint
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return mutate.ConfigFile(image, config)
}

// layer writes the tar of the image's files as it is read.
func (i Image) layer() (io.ReadCloser, error) {
	reader, writer := io.Pipe()
	go func() {
		w := tar.NewWriter(writer)
		err := i.write(w)
		if err == nil {
			err = w.Close()
		}
		writer.CloseWithError(err)
	}()
	return reader, nil
}

func (i Image) write(w *tar.Writer) error {
	made := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(i.Files)) {
		source := i.Files[path]
		err := filepath.WalkDir(source, func(file string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			inner, err := filepath.Rel(source, file)
			if err != nil {
				return err
			}
			return add(w, made, filepath.Join(path, inner), file)
		})
		if err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(i.Links)) {
		if err := addParents(w, made, path); err != nil {
			return err
		}
		header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Typeflag: tar.TypeSymlink, Linkname: i.Links[path], Mode: 0o777}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
	}
	return nil
}

func addParents(w *tar.Writer, made map[string]bool, path string) error {
	dir := filepath.Dir(path)
	if dir == "/" || dir == "." || made[dir] {
		return nil
	}
	if err := addParents(w, made, dir); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(dir, "/") + "/", Typeflag: tar.TypeDir, Mode: 0o755})
}

func add(w *tar.Writer, made map[string]bool, path, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return addParents(w, made, filepath.Join(path, "x"))
	}
	if err := addParents(w, made, path); err != nil {
		return err
	}
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Typeflag: tar.TypeReg, Size: info.Size(), Mode: int64(info.Mode().Perm())}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

// Libraries finds the shared libraries of programs, as files of an image.
func Libraries(ctx context.Context, programs ...string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", programs...).Output()
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", strings.Join(programs, " "), err)
	}
	files := map[string]string{}
	for line := range bytes.Lines(out) {
		for _, word := range strings.Fields(string(line)) {
			// "/path:" is the heading of one program's.
			if strings.HasPrefix(word, "/") && !strings.HasSuffix(word, ":") {
				files[word] = word
			}
		}
	}
	return files, nil
}
