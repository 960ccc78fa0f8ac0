// Package v1alpha1 holds the objects of a capiam cluster spec, in EKS
// Anywhere's own format and API group (anywhere.eks.amazonaws.com/v1alpha1), so
// that a working file of theirs is a working file of ours.
//
// The types, their defaults and their validation stand in files of their own.
// Package spec reads a file into them.
package v1alpha1
