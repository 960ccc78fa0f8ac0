package manifest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
	"github.com/capiam/capiam/pkg/release"
)

// Pin makes a release the one for its Kubernetes version. Nothing is known
// about it until it is refreshed.
func (s *Sources) Pin(name string) error {
	channel, number, ok := strings.Cut(strings.TrimPrefix(name, "kubernetes-"), "-eks-")
	version := strings.Replace(channel, "-", ".", 1)
	if _, err := release.ParseKubeVersion(version); err != nil || !ok || !strings.HasPrefix(name, "kubernetes-") || number == "" {
		return fmt.Errorf("release %q: want a name such as kubernetes-1-36-eks-6", name)
	}
	s.Release.KubeVersions[version] = name
	if s.EKSD.release(name).Name == "" {
		s.EKSD.Releases = append(s.EKSD.Releases, EKSDRelease{
			KubeVersion: version,
			Name:        name,
			ManifestURL: "https://distro.eks.amazonaws.com/kubernetes-" + channel + "/" + name + ".yaml",
		})
	}
	return nil
}

// Refresh replaces what is known about each release the manifest names by what
// the publisher's own Release document says, and forgets all others.
func (s *Sources) Refresh(ctx context.Context, d *release.Downloader) error {
	var fresh []EKSDRelease
	for _, r := range s.EKSD.Releases {
		if s.Release.KubeVersions[r.KubeVersion] != r.Name {
			continue
		}
		doc, err := d.Release(ctx, r.Name, r.ManifestURL)
		if err != nil {
			return err
		}
		if r, err = fromPublisher(r, doc); err != nil {
			return err
		}
		fresh = append(fresh, r)
	}
	slices.SortFunc(fresh, func(a, b EKSDRelease) int { return release.CompareKubeVersions(a.KubeVersion, b.KubeVersion) })
	s.EKSD.Releases = fresh
	return s.check()
}

func fromPublisher(r EKSDRelease, doc *v1alpha1.Release) (EKSDRelease, error) {
	r.Trust, r.Source, r.Date = TrustPublisher, r.ManifestURL, doc.Status.Date
	r.Image, r.Archives = "", nil
	i := slices.IndexFunc(doc.Status.Components, func(c v1alpha1.Component) bool { return c.Name == release.ClientAuthenticator })
	if i < 0 {
		return r, fmt.Errorf("%s: has no %s", r.ManifestURL, release.ClientAuthenticator)
	}
	component := doc.Status.Components[i]
	r.Version = component.GitTag
	for _, a := range component.Assets {
		if a.Type == v1alpha1.AssetImage {
			r.Image = a.Image.URI
			continue
		}
		r.Archives = append(r.Archives, EKSDArchive{
			OS: a.OS, Arch: a.Arch[0], URI: a.Archive.URI, SHA256: a.Archive.SHA256, SHA512: a.Archive.SHA512,
		})
	}
	slices.SortFunc(r.Archives, func(a, b EKSDArchive) int { return strings.Compare(a.OS+a.Arch, b.OS+b.Arch) })
	return r, nil
}

// Save writes the sources back, with the comments at the head of each file.
func (s Sources) Save(dir string) error {
	path := filepath.Join(dir, EKSDFile)
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	data, err := yaml.Marshal(s.EKSD)
	if err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	if err := os.WriteFile(path, append(comments(old), data...), 0o644); err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	path = filepath.Join(dir, ReleaseFile)
	if old, err = os.ReadFile(path); err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	for version, name := range s.Release.KubeVersions {
		line := regexp.MustCompile(`(?m)^(  "` + regexp.QuoteMeta(version) + `": ).*$`)
		if !line.Match(old) {
			return fmt.Errorf("manifest sources: %s has no line for Kubernetes %s: add it by hand", ReleaseFile, version)
		}
		old = line.ReplaceAll(old, []byte("${1}"+name))
	}
	if err := os.WriteFile(path, old, 0o644); err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	return nil
}

// SavePublished notes what a release build has made.
func SavePublished(dir string, p Published) error {
	data, err := yaml.Marshal(p)
	if err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	const head = "# What the release build of this version has made. Written by make release.\n"
	if err := os.WriteFile(filepath.Join(dir, PublishedFile), append([]byte(head), data...), 0o644); err != nil {
		return fmt.Errorf("manifest sources: %w", err)
	}
	return nil
}

// comments are the lines before a file's first key.
func comments(data []byte) []byte {
	var head []byte
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte("#")) {
			break
		}
		head = append(head, line...)
	}
	return head
}
