// Package clusterapi switches AWS IAM authentication on for clusters that
// Cluster API keeps, whatever infrastructure they run on.
//
// One half is pure: a set of Cluster API objects, of a spec file or of a
// management cluster, is patched with kustomize so that the API servers of its
// KubeadmControlPlane ask the authenticator. The other half talks to the
// management cluster: preflight checks, secrets, applying, and waiting for
// machines. Package workflow calls both.
package clusterapi
