package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/capiam/capiam/release/internal/build"
)

// WriteLayout writes an image into a new directory in the OCI layout, under a
// reference such as ghcr.io/capiam/capiam-authenticator:v0.1.0.
func WriteLayout(dir string, index v1.ImageIndex, reference string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("image %s: %w", dir, err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("image %s: %w", dir, err)
	}
	err = at.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag.TagStr(),
		// containerd takes the whole name from here.
		"io.containerd.image.name": tag.Name(),
	}))
	if err != nil {
		return fmt.Errorf("image %s: %w", dir, err)
	}
	return nil
}

// WriteOCIArchive packs an OCI layout into one file, which podman load, skopeo,
// ctr images import and docker load read.
func WriteOCIArchive(path, dir string, modTime time.Time) (err error) {
	var files []build.File
	err = filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		in, err := filepath.Rel(dir, at)
		files = append(files, build.File{Name: filepath.ToSlash(in), Path: at, Mode: 0o644})
		return err
	})
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	to, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := build.WriteTar(to, files, modTime); err != nil {
		return fmt.Errorf("image %s: %w", path, err)
	}
	return nil
}

// WriteDockerArchive writes the image for one architecture into a file that
// every docker load reads.
func WriteDockerArchive(path string, index v1.ImageIndex, arch, reference string) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("image %s: %w", path, err)
	}
	image, err := forArch(index, arch)
	if err != nil {
		return fmt.Errorf("image %s: %w", path, err)
	}
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		return fmt.Errorf("image %s: %w", path, err)
	}
	return nil
}

func forArch(index v1.ImageIndex, arch string) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.Platform != nil && d.Platform.Architecture == arch {
			return index.Image(d.Digest)
		}
	}
	return nil, fmt.Errorf("it has nothing for %s", arch)
}

// ReadLayout reads the one image of an OCI layout.
func ReadLayout(dir string) (v1.ImageIndex, error) {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("image %s: has %d images, want one", dir, len(manifest.Manifests))
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", dir, err)
	}
	return index, nil
}

// Push writes an image to a registry, logging in as docker and podman would,
// and returns the reference with its digest.
func Push(ctx context.Context, index v1.ImageIndex, reference string) (string, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return "", fmt.Errorf("push: %w", err)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	return tag.Context().Digest(digest.String()).Name(), nil
}
