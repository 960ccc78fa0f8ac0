// Package management runs a Cluster API management cluster as plain processes:
// etcd and kube-apiserver (`capiam-local bare`), kube-controller-manager, and
// Cluster API's own unmodified managers with their webhooks, as `clusterctl
// init` would leave them. Nothing is simulated but the infrastructure, and that
// is the caller's choice.
//
// The tests of this module and the end-to-end tests (test/e2e) call Start. All
// programs and manifests are taken from the directory that `make capi-managers`
// fills; no Go toolchain is needed.
//
// The managers' webhooks, and the workload clusters of the in-memory provider,
// listen on all addresses, the latter on the ports 19000 and 20000 to 30000. So
// call Start inside a network namespace (package test/isolate), and have at most
// one in-memory provider in each.
package management
