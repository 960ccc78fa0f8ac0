package v1alpha1

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// MaxFiles bounds the files that one ClusterAPIDatacenterConfig names.
const MaxFiles = 50

// Validate returns what is wrong with the object, defaults filled in. Whether
// the files can be read, and what they hold, is the reader's to check.
func (c *ClusterAPIDatacenterConfig) Validate() []Problem {
	var p problems
	if message := CheckObjectName(c.Name); message != "" {
		p.errorf("metadata.name", "%s", message)
	}
	s := &c.Spec
	// Cluster API labels every object of a cluster with the cluster's name.
	if s.ClusterName != "" && len(validation.IsDNS1123Label(s.ClusterName)) > 0 {
		p.errorf("spec.clusterName", "%q: want at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends", clip(s.ClusterName))
	}
	if message := CheckNamespace(s.Namespace); message != "" {
		p.errorf("spec.namespace", "%s", message)
	}
	if len(s.Files) > MaxFiles {
		p.errorf("spec.files", "names %d files: at most %d are read", len(s.Files), MaxFiles)
	}
	seen := make(map[string]int)
	for i, file := range s.Files {
		field := fmt.Sprintf("spec.files[%d]", i)
		if message := CheckFile(file); message != "" {
			p.errorf(field, "%s", message)
			continue
		}
		if first, dup := seen[path.Clean(file)]; dup {
			p.errorf(field, "the same file as spec.files[%d]: remove one", first)
			continue
		}
		seen[path.Clean(file)] = i
	}
	validateGroupBindings(&p, s.GroupBindings)
	return p
}

// CheckFile says why a path cannot be one of a ClusterAPIDatacenterConfig's
// files, or returns nothing.
func CheckFile(file string) string {
	switch {
	case file == "":
		return "required: a path relative to the spec file's directory"
	case path.IsAbs(file) || filepath.IsAbs(file):
		return fmt.Sprintf("%q: want a path relative to the spec file's directory", clip(file))
	case strings.ContainsAny(file, "*?["):
		return fmt.Sprintf("%q: patterns are not supported: name each file", clip(file))
	case strings.Contains(file, "://"):
		return fmt.Sprintf("%q: want a file, not a URL: download it first", clip(file))
	}
	return ""
}

// validateClusterAPI finds what a cluster of the user's own Cluster API objects
// does nothing with: those objects say it. It checks what is used.
func (c *Cluster) validateClusterAPI(p *problems) {
	const left = "left alone with a " + ClusterAPIDatacenterConfigKind + ": "
	s := &c.Spec
	cp := s.ControlPlaneConfiguration
	if cp.Count > 0 {
		p.warnf("spec.controlPlaneConfiguration.count", left+"the control plane's object says how many machines it has")
	}
	if len(cp.Labels) > 0 {
		p.warnf("spec.controlPlaneConfiguration.labels", left+"the control plane's object says which labels its nodes have")
	}
	if len(s.WorkerNodeGroupConfigurations) > 0 {
		p.warnf("spec.workerNodeGroupConfigurations", left+"MachineDeployments and MachinePools say which workers there are")
	}
	// The addresses serve one purpose here: the authenticator's noProxy.
	proxied := ""
	if s.ProxyConfiguration != nil {
		proxied = ", and here it is no more than what the authenticator reaches without the proxy"
	}
	if cp.Endpoint != nil && cp.Endpoint.Host != "" {
		p.warnf("spec.controlPlaneConfiguration.endpoint", left+"Cluster API's Cluster says where the API server is reached%s", proxied)
	}
	if len(s.ClusterNetwork.Pods.CIDRBlocks)+len(s.ClusterNetwork.Services.CIDRBlocks) > 0 {
		p.warnf("spec.clusterNetwork", left+"Cluster API's Cluster says which address ranges there are%s", proxied)
	}
	validateTaints(p, "spec.controlPlaneConfiguration.taints", cp.Taints)
	validateProxy(p, s.ProxyConfiguration)
	validateMirror(p, s.RegistryMirrorConfiguration)
	if m := s.RegistryMirrorConfiguration; m != nil && m.CACertContent != "" {
		p.warnf("spec.registryMirrorConfiguration.caCertContent", left+"the machines' own objects say whom they trust")
	}
}
