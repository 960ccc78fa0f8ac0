// Package release answers which programs and images go with a Kubernetes
// version: from where, and with which checksums. The command line installs
// clients with it, and rendering takes the images and install hints from it.
//
// The answers come from a manifest: a Bundles document that names an EKS Distro
// release for each Kubernetes version, and a Release document for each that
// lists archives and images. One manifest is built into the program (Default);
// a file of the user's can replace it (Load). It is read when first asked, and
// each Release document only when it is needed.
//
// A checksum that is not known is empty, never guessed. Downloader then uses
// the checksum file that the publisher puts beside the archive, and says so.
package release
