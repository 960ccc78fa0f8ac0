// Package local keeps Kubernetes control planes on this machine: etcd and
// kube-apiserver, kube-controller-manager, the authenticator and a simulated
// STS, without root, containers or an AWS account.
//
// The command line uses it to start a cluster's supervisor (the capiam-local
// program), to talk to it, and to take the cluster away again. The supervisor
// itself is package supervisor; it uses this package for the layout of a
// cluster's directory.
//
// Everything about a cluster lies in one directory below the user's data
// directory ($XDG_DATA_HOME/capiam/clusters/NAME). A supervisor holds a lock on
// it for as long as it lives; no process id is ever read from a file, so none
// can be stale.
package local
