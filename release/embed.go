// Package release holds the release manifest that is built into capiam: which
// programs and images go with each Kubernetes version, from where, and with
// which checksums.
//
// The files are written by the tool beside them (make release-manifest) from
// sources/eksd.yaml, and are not edited by hand:
//
//	bundles.yaml   a Bundles document: Kubernetes version -> EKS Distro release
//	eks-d/*.yaml   a Release document for each, with the components capiam uses
//	capiam.yaml    a Release document with capiam's own artefacts
//
// Package pkg/release reads them.
package release

import "embed"

// Files are the manifest's documents.
//
//go:embed bundles.yaml capiam.yaml eks-d/*.yaml
var Files embed.FS
