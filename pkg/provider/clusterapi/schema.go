package clusterapi

import (
	"sync"

	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// mergeSchema tells kustomize by which field the lists that capiam adds to are
// merged. Without it kustomize replaces a list of a kind it does not know, and
// Cluster API's CRDs say nothing of merging: their lists are atomic. It is what
// a kustomization has in its field openapi.
const mergeSchema = `
definitions:
  io.x-k8s.cluster.controlplane.v1beta1.KubeadmControlPlane:
    type: object
    x-kubernetes-group-version-kind:
    - {group: controlplane.cluster.x-k8s.io, version: v1beta1, kind: KubeadmControlPlane}
    - {group: controlplane.cluster.x-k8s.io, version: v1beta2, kind: KubeadmControlPlane}
    properties:
      spec:
        type: object
        properties:
          kubeadmConfigSpec:
            type: object
            properties:
              clusterConfiguration:
                type: object
                properties:
                  apiServer:
                    type: object
                    properties:
                      # A map in v1beta1, which needs no key.
                      extraArgs:
                        type: array
                        items: {type: object}
                        x-kubernetes-patch-strategy: merge
                        x-kubernetes-patch-merge-key: name
                      extraVolumes:
                        type: array
                        items: {type: object}
                        x-kubernetes-patch-strategy: merge
                        x-kubernetes-patch-merge-key: name
              files:
                type: array
                items: {type: object}
                x-kubernetes-patch-strategy: merge
                x-kubernetes-patch-merge-key: path
  io.x-k8s.cluster.v1beta1.Cluster:
    type: object
    x-kubernetes-group-version-kind:
    - {group: cluster.x-k8s.io, version: v1beta1, kind: Cluster}
    - {group: cluster.x-k8s.io, version: v1beta2, kind: Cluster}
    properties:
      spec:
        type: object
        properties:
          topology:
            type: object
            properties:
              variables:
                type: array
                items: {type: object}
                x-kubernetes-patch-strategy: merge
                x-kubernetes-patch-merge-key: name
`

// addSchema makes mergeSchema known to kustomize, which keeps its schemas in
// one place for the whole program.
var addSchema = sync.OnceValue(func() error { return openapi.AddSchema([]byte(mergeSchema)) })
