package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Group, version and kind of the two documents.
const (
	BundlesAPIVersion = "anywhere.eks.amazonaws.com/v1alpha1"
	BundlesKind       = "Bundles"
	ReleaseAPIVersion = "distro.eks.amazonaws.com/v1alpha1"
	ReleaseKind       = "Release"
)

// Types of an asset.
const (
	AssetArchive = "Archive"
	AssetImage   = "Image"
)

// Bundles says which release goes with each Kubernetes version.
type Bundles struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BundlesSpec `json:"spec,omitempty"`
}

// BundlesSpec is the content of a Bundles document.
type BundlesSpec struct {
	// Number grows by one with each published manifest.
	Number int `json:"number"`
	// CLIMinVersion and CLIMaxVersion bound the versions of EKS Anywhere's
	// command line that can use the document. capiam reads past them.
	CLIMinVersion   string           `json:"cliMinVersion,omitempty"`
	CLIMaxVersion   string           `json:"cliMaxVersion,omitempty"`
	VersionsBundles []VersionsBundle `json:"versionsBundles"`
}

// VersionsBundle is what goes with one Kubernetes version.
type VersionsBundle struct {
	// KubeVersion is the minor version, "1.36".
	KubeVersion string      `json:"kubeVersion"`
	EKSD        EKSDRelease `json:"eksD"`
	// Capiam names the document with capiam's own artefacts. EKS Anywhere's
	// Bundles have no such field.
	Capiam *CapiamRelease `json:"capiam,omitempty"`
}

// EKSDRelease names an EKS Distro release.
type EKSDRelease struct {
	// Name is the release's name, "kubernetes-1-36-eks-6".
	Name string `json:"name"`
	// Channel is the release branch, "1-36".
	Channel string `json:"channel"`
	// KubeVersion is the full version, "v1.36.1"; empty if it is not known.
	KubeVersion string `json:"kubeVersion,omitempty"`
	// ManifestURL is where the Release document is.
	ManifestURL string `json:"manifestUrl"`
	// Components is where the CRD of the Release kind is.
	Components string `json:"components,omitempty"`
}

// CapiamRelease names a release of capiam.
type CapiamRelease struct {
	// Name is the release's name, "capiam-v0.1.0".
	Name string `json:"name"`
	// Version is the release's version, "v0.1.0".
	Version string `json:"version"`
	// ManifestURL is where the Release document is.
	ManifestURL string `json:"manifestUrl"`
}

// Release lists what a release consists of.
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ReleaseSpec   `json:"spec,omitempty"`
	Status ReleaseStatus `json:"status,omitempty"`
}

// ReleaseSpec says which release of its channel a Release is.
type ReleaseSpec struct {
	Channel string `json:"channel,omitempty"`
	Number  int    `json:"number,omitempty"`
}

// ReleaseStatus is the content of a Release document.
type ReleaseStatus struct {
	// Date is when it was made, in RFC 3339; empty if that is not known.
	Date       string      `json:"date,omitempty"`
	Components []Component `json:"components,omitempty"`
}

// Component is one program of a release.
type Component struct {
	// Name is the program's, "aws-iam-authenticator".
	Name string `json:"name"`
	// GitTag is the version, "v0.7.18".
	GitTag    string  `json:"gitTag,omitempty"`
	GitCommit string  `json:"gitCommit,omitempty"`
	Assets    []Asset `json:"assets"`
}

// Asset is an archive or an image of a component.
type Asset struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Type is "Archive" or "Image", and says which of the two last fields is
	// set.
	Type string `json:"type"`
	// OS is "linux", "darwin" or "windows".
	OS string `json:"os,omitempty"`
	// Arch lists architectures, "amd64" and "arm64".
	Arch    []string `json:"arch,omitempty"`
	Archive *Archive `json:"archive,omitempty"`
	Image   *Image   `json:"image,omitempty"`
}

// Archive is a file to download.
type Archive struct {
	URI string `json:"uri"`
	// SHA256 and SHA512 are of the file, in lower-case hexadecimal. Empty
	// means not known, and then the publisher's own checksum file beside the
	// archive decides at download.
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
}

// Image is a container image.
type Image struct {
	// URI is registry, repository and tag.
	URI string `json:"uri"`
	// ImageDigest is the digest of the manifest or index, "sha256:…"; empty if
	// it is not known, as in every document of EKS Distro's.
	ImageDigest string `json:"imageDigest,omitempty"`
}
