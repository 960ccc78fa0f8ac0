// Package render turns a cluster's spec, its keys and what the release says
// into everything that capiam installs and writes: the values of the
// authenticator's Helm chart, all API objects, and the kubeconfigs.
//
// It is pure. It reads no file, no cluster and no clock; the same Input always
// gives the same Output, byte for byte. Package install puts the objects into a
// cluster; capiam generate manifests writes them to files.
package render
