package release

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
)

// Load returns the manifest in a file, for a --bundles-override flag; the
// manifest that is built in if path is empty.
//
// The file holds one Bundles document and any number of Release documents,
// capiam's own or EKS Anywhere's as published. What it does not hold is taken
// from the built-in manifest where a Bundles entry names the very document that
// is built in; entries without capiam's own artefacts get the built-in ones.
// All problems are listed in one error, with file and line.
func Load(path string) (*Manifest, error) {
	if path == "" {
		return Default()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("release manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("release manifest: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load for a file's content. The name is for messages.
func Parse(name string, data []byte) (*Manifest, error) {
	docs, err := split(name, data)
	if err != nil {
		return nil, err
	}
	builtin, err := Default()
	if err != nil {
		return nil, err
	}
	var (
		m        *Manifest
		releases []*v1alpha1.Release
		errs     []error
	)
	for _, doc := range docs {
		switch {
		case doc.apiVersion == v1alpha1.BundlesAPIVersion && doc.kind == v1alpha1.BundlesKind:
			if m != nil {
				errs = append(errs, fmt.Errorf("%s: a second Bundles document, want one", doc.where))
				continue
			}
			var bad error
			m, bad = newManifest(doc)
			errs = append(errs, bad)
		case doc.apiVersion == v1alpha1.ReleaseAPIVersion && doc.kind == v1alpha1.ReleaseKind:
			r := new(v1alpha1.Release)
			bad := doc.decode(r)
			if bad == nil {
				bad = checkRelease(doc.where, r)
			}
			errs = append(errs, bad)
			releases = append(releases, r)
		default:
			errs = append(errs, fmt.Errorf("%s: kind %s of %s does not belong in a release manifest, only Bundles and Release do",
				doc.where, quoteOrNone(doc.kind), quoteOrNone(doc.apiVersion)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("%s: has no Bundles document", name)
	}
	return m, m.complete(name, releases, builtin)
}

// complete gives a manifest its Release documents.
func (m *Manifest) complete(name string, releases []*v1alpha1.Release, builtin *Manifest) error {
	var errs []error
	for _, r := range releases {
		if _, ok := m.documents[r.Name]; ok {
			errs = append(errs, fmt.Errorf("%s: Release %s is there twice", name, r.Name))
			continue
		}
		url, ok := m.urlOf(r.Name)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: Release %s is not named by the Bundles document", name, r.Name))
			continue
		}
		m.documents[r.Name] = loaded(url, r)
	}
	own := builtin.bundles.Spec.VersionsBundles[len(builtin.bundles.Spec.VersionsBundles)-1].Capiam
	for i := range m.bundles.Spec.VersionsBundles {
		if b := &m.bundles.Spec.VersionsBundles[i]; b.Capiam == nil {
			b.Capiam = own
		}
	}
	for docName, d := range builtin.documents {
		if _, ok := m.documents[docName]; !ok {
			m.documents[docName] = d
		}
	}
	return errors.Join(errs...)
}

func loaded(url string, r *v1alpha1.Release) *document {
	return &document{url: url, load: func() (*v1alpha1.Release, error) { return r, nil }}
}

// urlOf finds where the Bundles document says a Release document is.
func (m *Manifest) urlOf(name string) (string, bool) {
	bundles := m.bundles.Spec.VersionsBundles
	if i := slices.IndexFunc(bundles, func(b v1alpha1.VersionsBundle) bool { return b.EKSD.Name == name }); i >= 0 {
		return bundles[i].EKSD.ManifestURL, true
	}
	if i := slices.IndexFunc(bundles, func(b v1alpha1.VersionsBundle) bool { return b.Capiam != nil && b.Capiam.Name == name }); i >= 0 {
		return bundles[i].Capiam.ManifestURL, true
	}
	return "", false
}
