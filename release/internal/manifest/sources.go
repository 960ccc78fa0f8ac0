package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

// Levels of trust in an entry, from best to worst; sources/eksd.yaml says what
// each means.
const (
	TrustPublisher = "publisher"
	TrustFixture   = "fixture"
	TrustDocsPage  = "docs-page"
	TrustDerived   = "derived"
)

// TrustLevels lists the levels from best to worst.
func TrustLevels() []string {
	return []string{TrustPublisher, TrustFixture, TrustDocsPage, TrustDerived}
}

// Sources is everything a manifest is generated from.
type Sources struct {
	EKSD    EKSD
	Release Release
	// Published is what the last release build made.
	Published Published
}

// Published is the content of sources/published.yaml, which a release build
// writes once its artefacts are published.
type Published struct {
	// Version is the release it is about; it counts only for that one.
	Version string `json:"version,omitempty"`
	Own     `json:",inline"`
}

// Own is what a release build has made. What is missing in it is listed in the
// manifest without a checksum or digest.
type Own struct {
	Commit string `json:"commit,omitempty"`
	// Date is when it was made, in RFC 3339.
	Date string `json:"date,omitempty"`
	// Digests are the digests of image indexes, by program.
	Digests map[string]string `json:"digests,omitempty"`
	// SHA256 and SHA512 are the checksums of archives, by file name.
	SHA256 map[string]string `json:"sha256,omitempty"`
	SHA512 map[string]string `json:"sha512,omitempty"`
}

// EKSD is the content of sources/eksd.yaml.
type EKSD struct {
	Releases []EKSDRelease `json:"releases"`
}

// EKSDRelease is what is known about one EKS Distro release.
type EKSDRelease struct {
	KubeVersion string `json:"kubeVersion"`
	Name        string `json:"name"`
	ManifestURL string `json:"manifestUrl"`
	// Trust is one of TrustLevels.
	Trust string `json:"trust"`
	// Source says where the entry was read.
	Source string `json:"source"`
	// Date is when the release was made, in RFC 3339; empty if not known.
	Date string `json:"date,omitempty"`
	// Version is the authenticator's.
	Version  string        `json:"version"`
	Image    string        `json:"image"`
	Archives []EKSDArchive `json:"archives"`
}

// EKSDArchive is one archive of the authenticator.
type EKSDArchive struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
}

// Release is the content of sources/release.yaml.
type Release struct {
	// Number grows by one with each published manifest.
	Number int `json:"number"`
	// KubeVersions maps a Kubernetes version to the name of its EKS Distro
	// release.
	KubeVersions map[string]string `json:"kubeVersions"`
	Capiam       Capiam            `json:"capiam"`
}

// Capiam says where capiam's own artefacts are published.
type Capiam struct {
	Version         string `json:"version"`
	BaseURL         string `json:"baseURL"`
	ImageRepository string `json:"imageRepository"`
}

// Names of the source files below release/sources.
const (
	EKSDFile      = "eksd.yaml"
	ReleaseFile   = "release.yaml"
	PublishedFile = "published.yaml"
)

// Load reads the sources in a directory, strictly.
func Load(dir string) (Sources, error) {
	var s Sources
	for name, into := range map[string]any{EKSDFile: &s.EKSD, ReleaseFile: &s.Release, PublishedFile: &s.Published} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if name == PublishedFile && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Sources{}, fmt.Errorf("manifest sources: %w", err)
		}
		if err := yaml.UnmarshalStrict(data, into); err != nil {
			return Sources{}, fmt.Errorf("manifest sources: %s: %w", name, err)
		}
	}
	return s, s.check()
}

// PublishedOwn is what is known about the published artefacts of the version
// the manifest names: nothing, before they are published.
func (s Sources) PublishedOwn() Own {
	if s.Published.Version != s.Release.Capiam.Version {
		return Own{}
	}
	return s.Published.Own
}

// check refuses sources that contradict themselves. That the assets are well
// formed is checked on the generated documents.
func (s Sources) check() error {
	seen := map[string]bool{}
	for _, r := range s.EKSD.Releases {
		if seen[r.Name] {
			return fmt.Errorf("manifest sources: %s: release %s is there twice", EKSDFile, r.Name)
		}
		seen[r.Name] = true
		if !slices.Contains(TrustLevels(), r.Trust) {
			return fmt.Errorf("manifest sources: %s: release %s: trust is %q, want one of %v", EKSDFile, r.Name, r.Trust, TrustLevels())
		}
		for _, a := range r.Archives {
			if r.Trust == TrustDerived && (a.SHA256 != "" || a.SHA512 != "") {
				return fmt.Errorf("manifest sources: %s: release %s: %s has a checksum, but no document it could come from", EKSDFile, r.Name, a.URI)
			}
		}
	}
	for version, name := range s.Release.KubeVersions {
		i := slices.IndexFunc(s.EKSD.Releases, func(r EKSDRelease) bool { return r.Name == name })
		if i < 0 {
			return fmt.Errorf("manifest sources: %s: Kubernetes %s wants release %s, which %s does not have", ReleaseFile, version, name, EKSDFile)
		}
		if got := s.EKSD.Releases[i].KubeVersion; got != version {
			return fmt.Errorf("manifest sources: %s: Kubernetes %s wants release %s, which is for %s", ReleaseFile, version, name, got)
		}
	}
	return nil
}

func (e EKSD) release(name string) EKSDRelease {
	for _, r := range e.Releases {
		if r.Name == name {
			return r
		}
	}
	return EKSDRelease{}
}
