// Package provider finds the Cluster API objects that a spec amounts to, whoever
// made them: the user, or package docker. The providers themselves are its
// subpackages.
package provider

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/provider/docker"
	"github.com/capiam/capiam/pkg/spec"
)

// Manifests returns the Cluster API objects that a spec brings, nil if it brings
// none, and the name of Cluster API's Cluster. The version is the whole one of
// Kubernetes that a cluster runs, where the spec names only its minor version and
// capiam would have to choose; empty if there is no cluster yet.
func Manifests(s *spec.Spec, version string) (*clusterapi.Manifests, types.NamespacedName, error) {
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	want := types.NamespacedName{}
	var docs []clusterapi.Document
	switch {
	case s.Docker != nil:
		text, err := docker.Render(s, docker.Options{KubernetesVersion: version})
		if err != nil {
			return nil, key, err
		}
		docs = append(docs, clusterapi.Document{File: s.File, Line: 1, Text: text})
		want = key
	case s.ClusterAPI != nil:
		want = types.NamespacedName{Namespace: s.ClusterAPI.Spec.Namespace, Name: s.ClusterAPI.Spec.ClusterName}
		if want.Name != "" {
			key.Name = want.Name
		}
		if want.Namespace != "" {
			key.Namespace = want.Namespace
		}
		for _, o := range s.Objects {
			docs = append(docs, clusterapi.Document{File: o.File, Line: o.Line, Text: o.Text})
		}
	}
	if len(docs) == 0 {
		return nil, key, nil
	}
	manifests, err := clusterapi.ReadManifests(docs, want)
	if err != nil {
		return nil, key, err
	}
	key = manifests.Cluster()
	return manifests, key, nil
}
