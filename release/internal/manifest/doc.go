// Package manifest makes the files of the release manifest out of what is known
// about EKS Distro's releases (sources/eksd.yaml), what capiam supports
// (sources/release.yaml) and what capiam's own release build has made.
//
// The release tool calls it. It invents nothing: a checksum that no source has
// is left out of the manifest.
package manifest
