// Package workflow makes clusters what their specs say, as named steps: create,
// upgrade, delete, describe. The command line calls it, and so can others.
//
// There are two kinds of cluster. A local one runs on this machine (files without
// a prefix); a managed one is kept by Cluster API for a management cluster (files
// that begin with managed_). What both have, the cluster that people log in to,
// is a workload: its rendered objects, its chart and its mappings.
package workflow
