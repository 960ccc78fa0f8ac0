package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Validate returns what is wrong with the object, defaults filled in.
func (c *DockerDatacenterConfig) Validate() []Problem {
	var p problems
	if message := CheckObjectName(c.Name); message != "" {
		p.errorf("metadata.name", "%s", message)
	}
	if strings.ContainsAny(c.Spec.NodeImage, " \t\r\n") {
		p.errorf("spec.nodeImage", "%q: an image's name has no blanks", clip(c.Spec.NodeImage))
	}
	validateGroupBindings(&p, c.Spec.GroupBindings)
	return p
}

// validateDocker checks what the machines of a cluster on the Docker provider
// are rendered from.
func (c *Cluster) validateDocker(p *problems) {
	const left = "left alone with a " + DockerDatacenterConfigKind + ": "
	s := &c.Spec
	cp := s.ControlPlaneConfiguration
	if cp.Count > 0 && cp.Count%2 == 0 {
		p.errorf("spec.controlPlaneConfiguration.count", "%d: each machine runs a member of etcd, which needs an odd number: write %d or %d", cp.Count, cp.Count-1, cp.Count+1)
	}
	if cp.Endpoint != nil && cp.Endpoint.Host != "" {
		p.warnf("spec.controlPlaneConfiguration.endpoint", left+"the Docker provider makes the load balancer and its address")
	}
	validateTaints(p, "spec.controlPlaneConfiguration.taints", cp.Taints)
	validateNodeLabels(p, "spec.controlPlaneConfiguration.labels", cp.Labels)
	c.validateWorkers(p)
	validateRanges(p, "spec.clusterNetwork.pods.cidrBlocks", s.ClusterNetwork.Pods.CIDRBlocks)
	validateRanges(p, "spec.clusterNetwork.services.cidrBlocks", s.ClusterNetwork.Services.CIDRBlocks)
	validateServiceRanges(p, s.ClusterNetwork)
	validateProxy(p, s.ProxyConfiguration)
	validateMirror(p, s.RegistryMirrorConfiguration)
}

// validateWorkers checks the groups of worker nodes, each of which becomes the
// MachineDeployment CLUSTER-NAME.
func (c *Cluster) validateWorkers(p *problems) {
	const field = "spec.workerNodeGroupConfigurations"
	seen := make(map[string]int)
	for i, w := range c.Spec.WorkerNodeGroupConfigurations {
		at := fmt.Sprintf("%s[%d]", field, i)
		most := validation.DNS1123LabelMaxLength - len(c.Name) - 1
		first, dup := seen[w.Name]
		switch {
		case w.Name == "":
			p.errorf(at+".name", "required where there are several groups: a group that loses its name loses its machines")
		case len(w.Name) > most:
			p.errorf(at+".name", "%q has %d characters: with this cluster's name, at most %d are allowed", clip(w.Name), len(w.Name), most)
		case len(validation.IsDNS1123Label(w.Name)) > 0:
			p.errorf(at+".name", "%q: want lower-case letters, digits and hyphens, with a letter or digit at both ends", clip(w.Name))
		case dup:
			p.errorf(at+".name", "the same as that of %s[%d]: give each group a name of its own", field, first)
		default:
			seen[w.Name] = i
		}
		validateTaints(p, at+".taints", w.Taints)
		validateNodeLabels(p, at+".labels", w.Labels)
	}
}

// validateRanges checks the address ranges of pods or services: one, or one of
// each family. That each is a range at all, Validate has checked.
func validateRanges(p *problems, field string, blocks []string) {
	families := make(map[bool]int) // by whether it is IPv6
	for i, block := range blocks {
		at := fmt.Sprintf("%s[%d]", field, i)
		prefix, err := netip.ParsePrefix(block)
		if err != nil {
			continue
		}
		if masked := prefix.Masked(); masked != prefix {
			p.errorf(at, "%q: names an address in the range, write %q", clip(block), masked)
		}
		if first, dup := families[prefix.Addr().Is6()]; dup {
			p.errorf(at, "%s[%d] is of the same family: want one range, or one of IPv4 and one of IPv6", field, first)
			continue
		}
		families[prefix.Addr().Is6()] = i
	}
}

// validateServiceRanges holds the services' ranges against the pods' and
// against what an API server takes.
func validateServiceRanges(p *problems, n ClusterNetwork) {
	const most = 20 // bits; ValidateServiceClusterIPRange in kube-apiserver
	for i, block := range n.Services.CIDRBlocks {
		at := fmt.Sprintf("spec.clusterNetwork.services.cidrBlocks[%d]", i)
		service, err := netip.ParsePrefix(block)
		if err != nil {
			continue
		}
		if width := service.Addr().BitLen(); width-service.Bits() > most {
			p.errorf(at, "%q: too large for an API server, which takes /%d or smaller", clip(block), width-most)
		}
		for j, other := range n.Pods.CIDRBlocks {
			if pod, err := netip.ParsePrefix(other); err == nil && pod.Overlaps(service) {
				p.errorf(at, "%q overlaps with %q of spec.clusterNetwork.pods.cidrBlocks[%d]", clip(block), clip(other), j)
			}
		}
	}
}
