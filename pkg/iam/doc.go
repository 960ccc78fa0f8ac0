// Package iam knows the names AWS gives to things: principals' ARNs, the
// partitions they live in, the regions of a partition and the host names STS
// answers on there.
//
// It is the one place in capiam that decides whether two ARNs mean the same
// principal. The command line, the controller and the authenticator all ask it,
// so what the command line lets through is exactly what the server honours.
//
// The package is pure: it reads no files and calls nothing.
package iam
