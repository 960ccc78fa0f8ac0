package release

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
)

// fileSink is a file that a download goes into.
type fileSink struct{ *os.File }

func (f fileSink) Reset() error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// Download puts an asset's archive into an empty file, and returns only when
// the checksum is right. The file is then at its start.
func (d *Downloader) Download(ctx context.Context, a Asset, file *os.File) (Checked, error) {
	uri, err := mirrored(a.URI, d.Mirror)
	if err != nil {
		return Checked{}, err
	}
	want, err := d.expected(ctx, a, uri)
	if err != nil {
		return Checked{}, err
	}
	if err := d.get(ctx, uri, d.limits().Download, fileSink{file}); err != nil {
		return Checked{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Checked{}, fmt.Errorf("read the download again: %w", err)
	}
	checked, err := want.check(uri, file)
	if err != nil {
		return Checked{}, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return checked, err
}

// Fetch gets the Release documents that the entry for a Kubernetes version
// names and that are not at hand. It does nothing for the built-in manifest.
// Nothing vouches for such a document but the connection it comes by.
func (m *Manifest) Fetch(ctx context.Context, d *Downloader, kubeVersion string) error {
	b, err := m.bundle(kubeVersion)
	if err != nil {
		return err
	}
	wanted := map[string]string{b.EKSD.Name: b.EKSD.ManifestURL}
	if b.Capiam != nil {
		wanted[b.Capiam.Name] = b.Capiam.ManifestURL
	}
	for name, url := range wanted {
		m.mu.Lock()
		have := m.documents[name]
		m.mu.Unlock()
		if have != nil && have.url == url {
			continue
		}
		if err := m.fetch(ctx, d, name, url); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) fetch(ctx context.Context, d *Downloader, name, url string) error {
	r, err := d.Release(ctx, name, url)
	if err != nil {
		return err
	}
	if r.Annotations == nil {
		r.Annotations = map[string]string{}
	}
	r.Annotations[TrustAnnotation] = "publisher"
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents[name] = loaded(url, r)
	return nil
}

// Release gets and checks one Release document from where it is published, or
// from the mirror.
func (d *Downloader) Release(ctx context.Context, name, url string) (*v1alpha1.Release, error) {
	uri, err := mirrored(url, d.Mirror)
	if err != nil {
		return nil, err
	}
	if err := checkURL(uri); err != nil {
		return nil, fmt.Errorf("release document %s: %w", name, err)
	}
	quiet := *d
	quiet.Progress = nil
	var text buffer
	if err := quiet.get(ctx, uri, maxManifest, &text); err != nil {
		return nil, fmt.Errorf("release document %s: %w", name, err)
	}
	r, err := parseRelease(redacted(uri), text.Bytes())
	if err == nil && r.Name != name {
		err = fmt.Errorf("%s: is release %q, want %q", redacted(uri), r.Name, name)
	}
	return r, err
}
