package release

import (
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
)

// Asset is one archive with a client for one platform.
type Asset struct {
	// Client is the program in the archive, ClientAuthenticator or
	// ClientCapiam.
	Client string `json:"client"`
	// KubeVersion is the minor version of Kubernetes, "1.36".
	KubeVersion string `json:"kubeVersion"`
	// Version is the program's own, "v0.7.18".
	Version string `json:"version"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	URI     string `json:"uri"`
	// SHA256 and SHA512 are the archive's checksums in hexadecimal, each
	// empty if it is not known.
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
	// Release is the name of the Release document the asset is from.
	Release string `json:"release"`
	// Trust says how well the document is known (TrustAnnotation).
	Trust string `json:"trust,omitempty"`
}

// Platform is the asset's, as "linux/amd64".
func (a Asset) Platform() string { return a.OS + "/" + a.Arch }

// ChecksumKnown tells whether the manifest has a checksum of the archive.
func (a Asset) ChecksumKnown() bool { return a.SHA256 != "" || a.SHA512 != "" }

// Image is a container image.
type Image struct {
	// URI is registry, repository and tag.
	URI string `json:"uri"`
	// Digest is "sha256:…", or empty if it is not known.
	Digest string `json:"digest,omitempty"`
	// Version is the program's in it.
	Version string `json:"version"`
}

// Reference is what to write into a pod: the URI, pinned by the digest where
// that is known.
func (i Image) Reference() string {
	if i.Digest == "" {
		return i.URI
	}
	return i.URI + "@" + i.Digest
}

// Mirrored is the image in a registry mirror, given as host or host:port with
// an optional path: only the registry's name changes.
func (i Image) Mirrored(mirror string) Image {
	if _, rest, ok := strings.Cut(i.URI, "/"); ok && mirror != "" {
		i.URI = strings.TrimSuffix(mirror, "/") + "/" + rest
	}
	return i
}

// Client returns the aws-iam-authenticator that EKS Distro publishes for a
// Kubernetes version and platform. The error is an *UnknownError with what
// there is, or a *MissingDocumentError.
func (m *Manifest) Client(kubeVersion, os, arch string) (Asset, error) {
	return m.ClientNamed(ClientAuthenticator, kubeVersion, os, arch)
}

// Clients names the programs that can be looked up as a client.
func Clients() []string { return []string{ClientAuthenticator, ClientCapiam} }

// ClientNamed is Client for one of Clients.
func (m *Manifest) ClientNamed(client, kubeVersion, os, arch string) (Asset, error) {
	assets, err := m.ClientAssets(client, kubeVersion)
	if err != nil {
		return Asset{}, err
	}
	known := make([]string, 0, len(assets))
	for _, a := range assets {
		if a.OS == os && a.Arch == arch {
			return a, nil
		}
		known = append(known, a.Platform())
	}
	unknown := &UnknownError{What: client + " for platform", Value: os + "/" + arch, Known: known}
	if client == ClientAuthenticator {
		if _, err := m.ClientNamed(ClientCapiam, kubeVersion, os, arch); err == nil {
			unknown.Hint = "the client capiam is there for " + os + "/" + arch + " (--client capiam)"
		}
	}
	return Asset{}, unknown
}

// ClientAssets lists the archives of a client for a Kubernetes version, by
// platform.
func (m *Manifest) ClientAssets(client, kubeVersion string) ([]Asset, error) {
	if !slices.Contains(Clients(), client) {
		return nil, &UnknownError{What: "client", Value: client, Known: Clients()}
	}
	b, doc, c, err := m.component(client, kubeVersion)
	if err != nil {
		return nil, err
	}
	var assets []Asset
	for _, a := range c.Assets {
		if a.Type != v1alpha1.AssetArchive {
			continue
		}
		assets = append(assets, Asset{
			Client:      client,
			KubeVersion: b.KubeVersion,
			Version:     c.GitTag,
			OS:          a.OS,
			Arch:        a.Arch[0],
			URI:         a.Archive.URI,
			SHA256:      a.Archive.SHA256,
			SHA512:      a.Archive.SHA512,
			Release:     doc.Name,
			Trust:       doc.Annotations[TrustAnnotation],
		})
	}
	slices.SortFunc(assets, func(x, y Asset) int { return strings.Compare(x.Platform(), y.Platform()) })
	return assets, nil
}

// AuthenticatorImage is EKS Distro's image of aws-iam-authenticator for a
// Kubernetes version. EKS Distro's documents have no digests.
func (m *Manifest) AuthenticatorImage(kubeVersion string) (Image, error) {
	return m.image(ClientAuthenticator, kubeVersion)
}

// CapiamImage is the image of capiam's own authenticator.
func (m *Manifest) CapiamImage(kubeVersion string) (Image, error) {
	return m.image(ServerCapiam, kubeVersion)
}

// ControllerImage is the image of capiam's controller.
func (m *Manifest) ControllerImage(kubeVersion string) (Image, error) {
	return m.image(ControllerCapiam, kubeVersion)
}

func (m *Manifest) image(program, kubeVersion string) (Image, error) {
	_, _, c, err := m.component(program, kubeVersion)
	if err != nil {
		return Image{}, err
	}
	for _, a := range c.Assets {
		if a.Type == v1alpha1.AssetImage {
			return Image{URI: a.Image.URI, Digest: a.Image.ImageDigest, Version: c.GitTag}, nil
		}
	}
	return Image{}, &UnknownError{What: "image of", Value: program}
}

// component finds a program's entry for a Kubernetes version.
func (m *Manifest) component(program, kubeVersion string) (v1alpha1.VersionsBundle, *v1alpha1.Release, v1alpha1.Component, error) {
	b, err := m.bundle(kubeVersion)
	if err != nil {
		return b, nil, v1alpha1.Component{}, err
	}
	name, url := b.EKSD.Name, b.EKSD.ManifestURL
	if program != ClientAuthenticator {
		if b.Capiam == nil {
			return b, nil, v1alpha1.Component{}, &UnknownError{What: "program", Value: program, Known: []string{ClientAuthenticator}}
		}
		name, url = b.Capiam.Name, b.Capiam.ManifestURL
	}
	doc, err := m.document(name, url)
	if err != nil {
		return b, nil, v1alpha1.Component{}, err
	}
	known := make([]string, 0, len(doc.Status.Components))
	for _, c := range doc.Status.Components {
		if c.Name == program {
			return b, doc, c, nil
		}
		known = append(known, c.Name)
	}
	return b, doc, v1alpha1.Component{}, &UnknownError{What: "component of " + doc.Name, Value: program, Known: known}
}

// InstallHint is what a kubeconfig tells a user whose machine lacks the client:
// the command that installs it, and where the archive for a platform is.
func (m *Manifest) InstallHint(client, kubeVersion, os, arch string) (string, error) {
	a, err := m.ClientNamed(client, kubeVersion, os, arch)
	if err != nil {
		return "", err
	}
	return client + " is needed to log in. Install it with\n" +
		"  capiam install client --client " + client + " --kube-version " + a.KubeVersion + "\n" +
		"or unpack it from " + a.URI + " into a directory of your PATH.", nil
}
