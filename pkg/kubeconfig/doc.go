// Package kubeconfig makes the three kubeconfigs of a cluster and writes them
// to files: the API server's webhook configuration, the one that AWS identities
// log in with, and the administrator's.
//
// Their names and shapes are EKS Anywhere's, so that what is written for its
// clusters works with capiam's.
package kubeconfig
