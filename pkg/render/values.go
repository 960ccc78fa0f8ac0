package render

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// values are those of the chart's values that capiam sets. The names are
// checked against the chart's schema whenever it is rendered.
type values struct {
	Image            string         `json:"image"`
	ClusterID        string         `json:"clusterID"`
	Region           string         `json:"region"`
	Partition        string         `json:"partition"`
	BackendModes     []string       `json:"backendModes"`
	Config           map[string]any `json:"config,omitempty"`
	InstanceMetadata bool           `json:"instanceMetadata,omitempty"`
	TLS              tlsValues      `json:"tls"`
	Snapshot         *snapshot      `json:"snapshot,omitempty"`
	GroupBindings    []groupBinding `json:"groupBindings,omitempty"`
	ExtraTolerations []toleration   `json:"extraTolerations,omitempty"`
	Proxy            *proxyValues   `json:"proxy,omitempty"`
}

type tlsValues struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

type snapshot struct {
	HostPath string `json:"hostPath"`
}

type groupBinding struct {
	Group       string `json:"group"`
	ClusterRole string `json:"clusterRole"`
	Namespace   string `json:"namespace,omitempty"`
}

type toleration struct {
	Key      string `json:"key,omitempty"`
	Operator string `json:"operator"`
	Value    string `json:"value,omitempty"`
	Effect   string `json:"effect,omitempty"`
}

type proxyValues struct {
	HTTPProxy  string   `json:"httpProxy,omitempty"`
	HTTPSProxy string   `json:"httpsProxy,omitempty"`
	NoProxy    []string `json:"noProxy,omitempty"`
}

func chartValues(in Input) (map[string]any, error) {
	s := &in.Spec.IAM.Spec
	cluster := &in.Spec.Cluster.Spec
	cfg, err := configValues(in)
	if err != nil {
		return nil, err
	}
	v := values{
		Image:        mirrored(in.Image, cluster.RegistryMirrorConfiguration),
		ClusterID:    in.ClusterID,
		Region:       s.AWSRegion,
		Partition:    s.Partition,
		BackendModes: s.BackendMode,
		Config:       cfg,
		// EC2 is asked with the credentials of the instance.
		InstanceMetadata: needsEC2(Mappings(in.Spec)),
		TLS:              tlsValues{Cert: string(in.Webhook.Leaf.CertPEM), Key: string(in.Webhook.Leaf.KeyPEM)},
		Proxy:            proxy(cluster),
	}
	if s.Server.Implementation == v1alpha1.ImplementationAWSIAMAuthenticator {
		v.Snapshot = &snapshot{} // it keeps none
	}
	for _, t := range cluster.ControlPlaneConfiguration.Taints {
		v.ExtraTolerations = append(v.ExtraTolerations, tolerate(t))
	}
	for _, b := range in.Spec.GroupBindings() {
		v.GroupBindings = append(v.GroupBindings, groupBinding(b))
	}
	// Helm keeps values as JSON, and comparing them with what it has kept
	// needs the same types.
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode chart values: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("encode chart values: %w", err)
	}
	return out, nil
}

func tolerate(t v1alpha1.Taint) toleration {
	return toleration{Key: t.Key, Operator: "Equal", Value: t.Value, Effect: t.Effect}
}

// proxy is the cluster's proxy. Addresses in the cluster and its own endpoint
// are reached without it; the chart adds what is the same everywhere.
func proxy(c *v1alpha1.ClusterSpec) *proxyValues {
	p := c.ProxyConfiguration
	if p == nil || p.HTTPProxy == "" && p.HTTPSProxy == "" {
		return nil
	}
	v := &proxyValues{HTTPProxy: p.HTTPProxy, HTTPSProxy: p.HTTPSProxy}
	v.NoProxy = append(v.NoProxy, c.ClusterNetwork.Pods.CIDRBlocks...)
	v.NoProxy = append(v.NoProxy, c.ClusterNetwork.Services.CIDRBlocks...)
	if e := c.ControlPlaneConfiguration.Endpoint; e != nil && e.Host != "" {
		v.NoProxy = append(v.NoProxy, e.Host)
	}
	v.NoProxy = append(v.NoProxy, p.NoProxy...)
	return v
}

// mirrored is an image as a registry mirror has it: the same path and digest
// under another host.
func mirrored(image string, m *v1alpha1.RegistryMirrorConfiguration) string {
	if m == nil || m.Endpoint == "" {
		return image
	}
	host, path, found := strings.Cut(image, "/")
	// Docker's rule for telling a registry from the first part of a path.
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		path = image
	}
	registry := m.Endpoint
	if m.Port != "" && m.Port != "443" {
		registry = net.JoinHostPort(strings.Trim(m.Endpoint, "[]"), m.Port)
	}
	return registry + "/" + path
}
