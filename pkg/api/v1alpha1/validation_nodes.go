package v1alpha1

import (
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What follows is about fields that mean something only where there are nodes.

// taintEffects are Kubernetes' own.
var taintEffects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

func validateTaints(p *problems, field string, taints []Taint) {
	type key struct{ key, effect string }
	seen := make(map[key]int)
	for i, t := range taints {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case t.Key == "":
			p.errorf(at+".key", "required")
		case len(content.IsLabelKey(t.Key)) > 0:
			p.errorf(at+".key", "%q: want a label's key, such as %q", clip(t.Key), "example.com/dedicated")
		}
		if len(content.IsLabelValue(t.Value)) > 0 {
			p.errorf(at+".value", "%q: want at most 63 letters, digits and ._-, with a letter or digit at both ends", clip(t.Value))
		}
		if !slices.Contains(taintEffects, t.Effect) {
			p.errorf(at+".effect", "%q: want one of %s", clip(t.Effect), strings.Join(taintEffects, ", "))
		}
		if first, dup := seen[key{t.Key, t.Effect}]; dup && t.Key != "" {
			p.errorf(at, "has key and effect of %s[%d]: a node has one of each", field, first)
		} else {
			seen[key{t.Key, t.Effect}] = i
		}
	}
}

// kubeletLabels are the labels of Kubernetes' own that a kubelet may give
// itself, besides those under kubelet.kubernetes.io and node.kubernetes.io
// (k8s.io/kubelet/pkg/apis, well_known_labels.go).
var kubeletLabels = []string{
	"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
	"topology.kubernetes.io/region", "topology.kubernetes.io/zone",
	"failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
	"beta.kubernetes.io/instance-type", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
}

func validateNodeLabels(p *problems, field string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		prefix, _, _ := strings.Cut(key, "/")
		switch {
		case len(content.IsLabelKey(key)) > 0:
			p.errorf(field, "%q: no label can have that key", clip(key))
		case len(content.IsLabelValue(labels[key])) > 0:
			p.errorf(field, "%s: %q: want at most 63 letters, digits and ._-, with a letter or digit at both ends", key, clip(labels[key]))
		case !strings.Contains(key, "/"), slices.Contains(kubeletLabels, key):
		case under(prefix, "kubelet.kubernetes.io"), under(prefix, "node.kubernetes.io"):
		case under(prefix, "kubernetes.io"), under(prefix, "k8s.io"):
			p.errorf(field, "%s: a kubelet with such a label does not start: choose a prefix of your own", key)
		}
	}
}

// under tells whether a domain is another, or lies in it.
func under(domain, parent string) bool {
	return domain == parent || strings.HasSuffix(domain, "."+parent)
}

func validateProxy(p *problems, proxy *ProxyConfiguration) {
	const field = "spec.proxyConfiguration"
	if proxy == nil {
		return
	}
	if proxy.HTTPProxy == "" && proxy.HTTPSProxy == "" {
		p.errorf(field, "names no proxy: give httpProxy, httpsProxy or both, or remove it")
	}
	// The messages do not quote a proxy: it may hold a password.
	if !isProxy(proxy.HTTPProxy) {
		p.errorf(field+".httpProxy", "want a proxy such as %q", "http://proxy.example.com:3128")
	}
	if !isProxy(proxy.HTTPSProxy) {
		p.errorf(field+".httpsProxy", "want a proxy such as %q", "http://proxy.example.com:3128")
	}
	for i, host := range proxy.NoProxy {
		if host == "" || strings.ContainsAny(host, ", \t\r\n") {
			p.errorf(fmt.Sprintf("%s.noProxy[%d]", field, i), "%q: want one host, domain or address range an item", clip(host))
		}
	}
}

// isProxy tells whether a value is empty or one that programs take for a proxy,
// which may come without http://.
func isProxy(value string) bool {
	if value == "" {
		return true
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		(u.Port() == "" || isPort(u.Port())) && strings.Trim(u.Path, "/") == ""
}

func validateMirror(p *problems, mirror *RegistryMirrorConfiguration) {
	const field = "spec.registryMirrorConfiguration"
	if mirror == nil {
		return
	}
	switch host := strings.Trim(mirror.Endpoint, "[]"); {
	case host == "":
		p.errorf(field+".endpoint", "required: the registry's host")
	case strings.Contains(host, "://"):
		p.errorf(field+".endpoint", "%q: want a host with no scheme", clip(mirror.Endpoint))
	case isAddress(host):
	case len(validation.IsDNS1123Subdomain(host)) > 0:
		p.errorf(field+".endpoint", "%q: want a host's name or address alone; the port stands in port", clip(mirror.Endpoint))
	}
	if mirror.Port != "" && !isPort(mirror.Port) {
		p.errorf(field+".port", "%q: want a port from 1 to 65535", clip(mirror.Port))
	}
	if mirror.CACertContent != "" {
		if block, _ := pem.Decode([]byte(mirror.CACertContent)); block == nil || block.Type != "CERTIFICATE" {
			p.errorf(field+".caCertContent", "want certificates in PEM, that is with lines -----BEGIN CERTIFICATE-----")
		}
	}
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
