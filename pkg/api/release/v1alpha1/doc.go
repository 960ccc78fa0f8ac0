// Package v1alpha1 holds the two documents a release consists of, in the shape
// EKS Anywhere's users have them: Bundles, which names an EKS Distro release
// for each Kubernetes version, and Release, EKS Distro's own document, which
// lists a release's components with their archives and images. capiam's own
// artefacts are listed in a document of the same Release kind.
//
// Only the fields capiam reads or writes have a Go field. Documents of other
// publishers hold more, which is ignored when it is decoded and kept by who
// passes a document on.
//
// Field names are those of EKS Anywhere's release/api/v1alpha1 and of
// eks-distro-build-tooling's release/api/v1alpha1.
package v1alpha1
