package release

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
	embedded "github.com/capiam/capiam/release"
)

// Programs a manifest can list, by the name of their component.
const (
	ClientAuthenticator = "aws-iam-authenticator"
	ClientCapiam        = "capiam"
	ServerCapiam        = "capiam-authenticator"
	ControllerCapiam    = "capiam-controller"
)

// Files of a manifest.
const (
	BundlesFile = "bundles.yaml"
	CapiamFile  = "capiam.yaml"
	EKSDDir     = "eks-d"
)

// TrustAnnotation on a Release document says how well its content is known:
// "publisher", "fixture", "docs-page" or "derived" (release/sources/eksd.yaml).
const TrustAnnotation = "capiam.dev/trust"

// Manifest says what goes with each Kubernetes version. It is safe for
// concurrent use.
type Manifest struct {
	bundles v1alpha1.Bundles
	// raw is the Bundles document with the fields that have no Go field.
	raw map[string]any

	mu sync.Mutex
	// documents are the Release documents at hand, by name.
	documents map[string]*document
}

// document is a Release document, decoded when first needed.
type document struct {
	// url is where the document is published. A document at hand stands for
	// a Bundles entry only if that entry names the same place.
	url  string
	load func() (*v1alpha1.Release, error)
}

// Default returns the manifest that is built in. An error is a broken build.
func Default() (*Manifest, error) { return defaultManifest() }

// defaultManifest reads the embedded files at most once: they cannot change.
var defaultManifest = sync.OnceValues(func() (*Manifest, error) { return LoadFS(embedded.Files) })

// LoadFS reads a manifest's files: bundles.yaml, capiam.yaml and eks-d/*.yaml.
// The Release documents are decoded and checked when they are first needed.
func LoadFS(files fs.FS) (*Manifest, error) {
	data, err := fs.ReadFile(files, BundlesFile)
	if err != nil {
		return nil, fmt.Errorf("release manifest: %w", err)
	}
	docs, err := split(BundlesFile, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("release manifest: %s has %d documents, want one", BundlesFile, len(docs))
	}
	m, err := newManifest(docs[0])
	if err != nil {
		return nil, err
	}
	for _, b := range m.bundles.Spec.VersionsBundles {
		m.addFile(files, EKSDDir+"/"+b.EKSD.Name+".yaml", b.EKSD.Name, b.EKSD.ManifestURL)
		if b.Capiam != nil {
			m.addFile(files, CapiamFile, b.Capiam.Name, b.Capiam.ManifestURL)
		}
	}
	return m, nil
}

func newManifest(doc rawDocument) (*Manifest, error) {
	m := &Manifest{raw: doc.content, documents: map[string]*document{}}
	if err := doc.decode(&m.bundles); err != nil {
		return nil, err
	}
	return m, checkBundles(doc.where, &m.bundles)
}

func (m *Manifest) addFile(files fs.FS, path, name, url string) {
	if _, ok := m.documents[name]; ok {
		return
	}
	m.documents[name] = &document{url: url, load: sync.OnceValues(func() (*v1alpha1.Release, error) {
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("release manifest: %w", err)
		}
		r, err := parseRelease(path, data)
		if err != nil {
			return nil, err
		}
		if r.Name != name {
			return nil, fmt.Errorf("%s: metadata.name: is %q, but %s names it %q", path, r.Name, BundlesFile, name)
		}
		return r, nil
	})}
}

// parseRelease reads one Release document and checks it.
func parseRelease(where string, data []byte) (*v1alpha1.Release, error) {
	docs, err := split(where, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s: has %d documents, want one of kind Release", where, len(docs))
	}
	var r v1alpha1.Release
	if err := docs[0].decode(&r); err != nil {
		return nil, err
	}
	return &r, checkRelease(docs[0].where, &r)
}

// Number is the manifest's own number, which grows with each one published.
func (m *Manifest) Number() int { return m.bundles.Spec.Number }

// KubeVersions are the Kubernetes versions the manifest has something for, as
// "1.36", oldest first.
func (m *Manifest) KubeVersions() []string {
	versions := make([]string, 0, len(m.bundles.Spec.VersionsBundles))
	for _, b := range m.bundles.Spec.VersionsBundles {
		versions = append(versions, b.KubeVersion)
	}
	slices.SortFunc(versions, CompareKubeVersions)
	return versions
}

// Bundles returns the Bundles document's typed part.
func (m *Manifest) Bundles() v1alpha1.Bundles {
	b := m.bundles
	b.Annotations, b.Labels = maps.Clone(b.Annotations), maps.Clone(b.Labels)
	b.Spec.VersionsBundles = slices.Clone(b.Spec.VersionsBundles)
	return b
}

// BundlesFor returns the Bundles object to put into a cluster, under the
// cluster's name, where EKS Anywhere's users look for it. Fields of a user's
// own Bundles that capiam does not know are kept.
func (m *Manifest) BundlesFor(clusterName, namespace string) *unstructured.Unstructured {
	object := (&unstructured.Unstructured{Object: m.raw}).DeepCopy()
	meta := map[string]any{"name": clusterName, "namespace": namespace}
	for _, key := range []string{"labels", "annotations"} {
		if v, ok, _ := unstructured.NestedMap(object.Object, "metadata", key); ok {
			meta[key] = v
		}
	}
	object.Object["metadata"] = meta
	unstructured.RemoveNestedField(object.Object, "status")
	return object
}

// Files returns the documents of the manifest that is built in, by their path,
// for who wants to publish or inspect them.
func Files() fs.FS { return embedded.Files }

// bundle finds the entry for a Kubernetes version, which may be given as
// "1.36", "v1.36" or "v1.36.3-anything".
func (m *Manifest) bundle(kubeVersion string) (v1alpha1.VersionsBundle, error) {
	minor, err := ParseKubeVersion(kubeVersion)
	if err != nil {
		return v1alpha1.VersionsBundle{}, err
	}
	for _, b := range m.bundles.Spec.VersionsBundles {
		if b.KubeVersion == minor {
			return b, nil
		}
	}
	return v1alpha1.VersionsBundle{}, &UnknownError{What: "Kubernetes version", Value: minor, Known: m.KubeVersions()}
}

// document returns the Release document of a name, if it is at hand and was
// published at the URL.
func (m *Manifest) document(name, url string) (*v1alpha1.Release, error) {
	m.mu.Lock()
	d := m.documents[name]
	m.mu.Unlock()
	if d == nil || d.url != url {
		return nil, &MissingDocumentError{Name: name, URL: url}
	}
	return d.load()
}

// UnknownError says that the manifest has no such Kubernetes version, platform
// or client, and which it has.
type UnknownError struct {
	// What is the kind of thing, "Kubernetes version" say.
	What  string
	Value string
	Known []string
	// Hint is what else can be done; it may be empty.
	Hint string
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("%s %q is not in the release manifest, which has %s", e.What, e.Value, strings.Join(e.Known, ", "))
	if len(e.Known) == 0 {
		s = fmt.Sprintf("%s %q is not in the release manifest", e.What, e.Value)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// MissingDocumentError says that a Bundles entry names a Release document that
// is not at hand. (*Manifest).Fetch gets it.
type MissingDocumentError struct{ Name, URL string }

func (e *MissingDocumentError) Error() string {
	return fmt.Sprintf("release document %s is not at hand: it has to be read from %s", e.Name, e.URL)
}
