// Package oci makes container images of static programs, without a container
// runtime, and writes them to files and registries.
//
// An image holds the program, the root certificates it needs to call AWS, and
// an unprivileged user: no shell, no package manager, nothing else. The same
// programs give the same digests.
package oci
