// Package nodebin names the programs of a Kubernetes node that the end-to-end
// tests build: see the tools in go.mod. It holds no code; it is a module of its
// own because k8s.io/kubernetes needs a replace for each of its staging modules,
// which do not live together with Cluster API's versions.
package nodebin
