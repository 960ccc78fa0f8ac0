package oci

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Unprivileged is the user and group that programs run as.
const Unprivileged = "65532:65532"

// caFile is where Go looks for root certificates first, on Linux.
const caFile = "etc/ssl/certs/ca-certificates.crt"

// Options describe an image.
type Options struct {
	// Program is the name of the program, and its path in the image's root.
	Program string
	// Files are the programs by architecture, "amd64" say.
	Files map[string]string
	// Version and Revision become labels.
	Version, Revision string
	// Source is the URL of the source code.
	Source string
	// Created is the time of everything in the image.
	Created time.Time
}

// Index makes a multi-architecture image.
func Index(o Options) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	base, err := baseLayer(o.Created)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Program, err)
	}
	var addenda []mutate.IndexAddendum
	for _, arch := range sortedArches(o.Files) {
		image, err := o.image(arch, base)
		if err != nil {
			return nil, fmt.Errorf("image %s for %s: %w", o.Program, arch, err)
		}
		addenda = append(addenda, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	index = mutate.AppendManifests(index, addenda...)
	annotated, ok := mutate.Annotations(index, o.labels()).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("image %s: cannot be annotated", o.Program)
	}
	return annotated, nil
}

func sortedArches(files map[string]string) []string {
	arches := make([]string, 0, len(files))
	for arch := range files {
		arches = append(arches, arch)
	}
	slices.Sort(arches)
	return arches
}

// labels are those of the OCI image specification.
func (o Options) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":    o.Program,
		"org.opencontainers.image.version":  o.Version,
		"org.opencontainers.image.created":  o.Created.UTC().Format(time.RFC3339),
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.source":   o.Source,
	}
	if o.Revision != "" {
		labels["org.opencontainers.image.revision"] = o.Revision
	}
	return labels
}

func (o Options) image(arch string, base v1.Layer) (v1.Image, error) {
	program, err := os.ReadFile(o.Files[arch])
	if err != nil {
		return nil, err
	}
	layer, err := newLayer([]entry{{name: o.Program, mode: 0o755, data: program}}, o.Created)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: o.Created.UTC()}
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: base, History: v1.History{Created: created, CreatedBy: "root certificates and an unprivileged user"}},
		mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: o.Program + " " + o.Version}},
	)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, created
	config.Config = v1.Config{
		User:       Unprivileged,
		Entrypoint: []string{"/" + o.Program},
		WorkingDir: "/",
		Env:        []string{"PATH=/", "SSL_CERT_FILE=/" + caFile},
		Labels:     o.labels(),
	}
	return mutate.ConfigFile(image, config)
}

// baseLayer is what every image has below its program.
func baseLayer(created time.Time) (v1.Layer, error) {
	certificates, err := rootCertificates()
	if err != nil {
		return nil, err
	}
	id, _, _ := strings.Cut(Unprivileged, ":")
	return newLayer([]entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\nnonroot:x:" + id + ":\n")},
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:" + id + ":" + id + ":nonroot:/:/sbin/nologin\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: caFile, mode: 0o644, data: certificates},
		// Readable by all and sticky, as everywhere.
		{name: "tmp/", mode: 0o1777},
	}, created)
}

// rootCertificates are Mozilla's, by way of the Go project. A root that is
// trusted only under conditions is left out: a PEM file cannot state them.
func rootCertificates() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("no root certificates")
	}
	return out.Bytes(), nil
}

// entry is a file of a layer, or a directory if its name ends in a slash.
type entry struct {
	name string
	mode int64
	data []byte
}

func newLayer(entries []entry, created time.Time) (v1.Layer, error) {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)),
			ModTime: created.UTC().Truncate(time.Second), Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(plain.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}
