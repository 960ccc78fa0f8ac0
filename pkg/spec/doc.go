// Package spec reads a cluster spec: a file of several YAML documents in EKS
// Anywhere's format, decoded strictly and checked as a whole.
//
// Every command that takes -f comes through Load. It either returns a Spec with
// defaults filled in, in which every reference leads to an object and every
// mapping is one the authenticator will honour, or all the problems of the file
// at once, each with its line, object and field.
//
// What the objects mean, their defaults and the rules for one object alone are
// in package v1alpha1. The reference for users is docs/spec.md.
package spec
