package v1alpha1

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Problem is something wrong with one object.
type Problem struct {
	// Field is the path of the field, "spec.mapRoles[2].roleARN".
	Field string
	// Message says what is wrong and what to do.
	Message string
	// Warning marks what should be looked at and stops nothing.
	Warning bool
}

// problems collects what is found wrong with an object.
type problems []Problem

func (p *problems) errorf(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) warnf(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Message: fmt.Sprintf(format, args...), Warning: true})
}

// MaxClusterNameLength is the longest name EKS Anywhere gives a cluster.
const MaxClusterNameLength = 35

var (
	clusterName       = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]+$`)
	kubernetesVersion = regexp.MustCompile(`^1\.(0|[1-9][0-9]{0,2})$`)
)

// CheckClusterName says what is wrong with a cluster's name, or returns
// nothing. The rule is EKS Anywhere's; what it lets through and no Kubernetes
// object can be called, capital letters and a hyphen at the end, is refused
// too.
func CheckClusterName(name string) string {
	switch {
	case name == "":
		return "required"
	case !clusterName.MatchString(name):
		return fmt.Sprintf("%q: want a letter and then at least one letter, digit or hyphen", clip(name))
	case len(name) > MaxClusterNameLength:
		return fmt.Sprintf("%q has %d characters: at most %d are allowed", clip(name), len(name), MaxClusterNameLength)
	case strings.ToLower(name) != name:
		return fmt.Sprintf("%q: Kubernetes objects have lower-case names, write %q", name, strings.ToLower(name))
	case strings.HasSuffix(name, "-"):
		return fmt.Sprintf("%q: must not end in a hyphen", name)
	}
	return ""
}

// CheckObjectName says what is wrong with the name of an object other than the
// Cluster, or returns nothing.
func CheckObjectName(name string) string {
	if name == "" {
		return "required"
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Sprintf("%q: want lower-case letters, digits, hyphens and dots, with a letter or digit at both ends", clip(name))
	}
	return ""
}

// CheckNamespace says what is wrong with a namespace, or returns nothing. An
// empty one is right.
func CheckNamespace(namespace string) string {
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		return fmt.Sprintf("%q: want at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends", clip(namespace))
	}
	return ""
}

// Validate returns what is wrong with the cluster taken alone, defaults filled
// in. Whether its references lead anywhere is the reader's to check.
func (c *Cluster) Validate() []Problem {
	var p problems
	if message := CheckClusterName(c.Name); message != "" {
		p.errorf("metadata.name", "%s", message)
	}
	if message := CheckNamespace(c.Namespace); message != "" {
		p.errorf("metadata.namespace", "%s", message)
	}
	s := &c.Spec
	switch v := s.KubernetesVersion; {
	case v == "":
		p.errorf("spec.kubernetesVersion", "required: write the minor version, such as %q", LocalKubernetesVersion)
	case !kubernetesVersion.MatchString(v):
		p.errorf("spec.kubernetesVersion", "%q: want the minor version alone, such as %q", clip(v), LocalKubernetesVersion)
	case c.IsLocal() && v != LocalKubernetesVersion:
		p.errorf("spec.kubernetesVersion", "%q: a local cluster embeds %s; leave the field out or write %q", v, LocalKubernetesVersion, LocalKubernetesVersion)
	}
	validateCIDRs(&p, "spec.clusterNetwork.pods.cidrBlocks", s.ClusterNetwork.Pods.CIDRBlocks)
	validateCIDRs(&p, "spec.clusterNetwork.services.cidrBlocks", s.ClusterNetwork.Services.CIDRBlocks)
	if s.ControlPlaneConfiguration.Count < 0 {
		p.errorf("spec.controlPlaneConfiguration.count", "%d: must not be negative", s.ControlPlaneConfiguration.Count)
	}
	for i, w := range s.WorkerNodeGroupConfigurations {
		if w.Count != nil && *w.Count < 0 {
			p.errorf(fmt.Sprintf("spec.workerNodeGroupConfigurations[%d].count", i), "%d: must not be negative", *w.Count)
		}
	}
	switch {
	case c.IsLocal():
		c.validateLocal(&p)
	case c.IsClusterAPI():
		c.validateClusterAPI(&p)
	case c.IsDocker():
		c.validateDocker(&p)
	}
	return p
}

// validateLocal finds what a cluster on this machine does nothing with. What
// only shapes nodes is a warning; a manager that would not manage is an error.
func (c *Cluster) validateLocal(p *problems) {
	const left = "not supported by capiam on a local cluster and left alone: "
	s := &c.Spec
	cp := s.ControlPlaneConfiguration
	if cp.Count > 1 {
		p.warnf("spec.controlPlaneConfiguration.count", left+"it has one API server")
	}
	if cp.Endpoint != nil && cp.Endpoint.Host != "" {
		p.warnf("spec.controlPlaneConfiguration.endpoint", left+"its API server listens on 127.0.0.1")
	}
	if len(cp.Taints) > 0 {
		p.warnf("spec.controlPlaneConfiguration.taints", left+"it has no nodes")
	}
	if len(cp.Labels) > 0 {
		p.warnf("spec.controlPlaneConfiguration.labels", left+"it has no nodes")
	}
	if len(s.WorkerNodeGroupConfigurations) > 0 {
		p.warnf("spec.workerNodeGroupConfigurations", left+"it has no nodes, and pods stay pending")
	}
	if len(s.ClusterNetwork.Pods.CIDRBlocks)+len(s.ClusterNetwork.Services.CIDRBlocks) > 0 {
		p.warnf("spec.clusterNetwork", left+"it chooses its own address ranges")
	}
	if s.ProxyConfiguration != nil {
		p.warnf("spec.proxyConfiguration", left+"it never leaves this machine")
	}
	if s.RegistryMirrorConfiguration != nil {
		p.warnf("spec.registryMirrorConfiguration", left+"it pulls no images")
	}
	if m := s.ManagementCluster.Name; m != "" && m != c.Name {
		p.errorf("spec.managementCluster.name", "not supported by capiam: a local cluster manages itself and not through %q; remove the field", clip(m))
	}
}

func validateCIDRs(p *problems, field string, blocks []string) {
	for i, block := range blocks {
		if _, err := netip.ParsePrefix(block); err != nil {
			p.errorf(fmt.Sprintf("%s[%d]", field, i), "%q: want an address range such as %q", clip(block), "10.96.0.0/12")
		}
	}
}

// clip shortens what a file says, for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
