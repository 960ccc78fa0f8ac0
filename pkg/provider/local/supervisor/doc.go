// Package supervisor is the heart of capiam-local: it runs the parts of one
// local cluster, keeps them running, answers the command line on a unix socket,
// and stops everything in order.
//
// etcd and kube-apiserver come in as a function, because they live in a Go
// module of their own (cmd/capiam-local); everything else is here.
package supervisor
