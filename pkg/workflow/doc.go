// Package workflow is what the commands do, as named steps: create a cluster,
// upgrade it, describe it, delete it. Whoever can type a command can also call
// it from Go.
//
// There are two kinds of cluster. A local one runs on this machine (files without
// a prefix); a managed one is kept by Cluster API for a management cluster (files
// that begin with managed_). What both have, the cluster that people log in to,
// is a workload: its rendered objects, its chart and its mappings.
//
// Each step can be run again. A command that was killed is carried on by the
// same command, and what is right already is left alone.
package workflow
