// Package docker makes the Cluster API objects of a DockerDatacenterConfig: a
// cluster on Cluster API's Docker provider, in the shape that the spec's Cluster
// has.
package docker

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/spec"
	"github.com/capiam/capiam/templates"
)

// Options are what a spec does not say.
type Options struct {
	// KubernetesVersion is the whole version, "v1.36.1". If it is empty, or of
	// another minor version than the spec's, it is that of the node image's
	// tag, or else the newest that the provider is known to have an image of.
	KubernetesVersion string
}

// nodeVersions are the newest versions that Cluster API v1.14's Docker provider
// has node images of (test/infrastructure/kind/mapper.go).
var nodeVersions = map[string]string{
	"1.30": "v1.30.13",
	"1.31": "v1.31.14",
	"1.32": "v1.32.11",
	"1.33": "v1.33.12",
	"1.34": "v1.34.8",
	"1.35": "v1.35.5",
	"1.36": "v1.36.1",
}

// Render returns the Cluster API objects of a spec whose cluster is on the
// Docker provider, as YAML. The same spec always gives the same text. Templates
// have names that change with what they say, as Cluster API lets nobody change
// them.
func Render(s *spec.Spec, o Options) ([]byte, error) {
	version, err := kubernetesVersion(s, o)
	if err != nil {
		return nil, err
	}
	c := s.Cluster.Spec
	files, commands, err := nodeFiles(&c)
	if err != nil {
		return nil, err
	}
	r := renderer{spec: s, files: files, commands: commands, ipv6: isIPv6(c.ClusterNetwork)}

	data := templates.DockerClusterData{
		Name: s.Name, Namespace: s.Namespace, Version: version,
		Pods: c.ClusterNetwork.Pods.CIDRBlocks, Services: c.ClusterNetwork.Services.CIDRBlocks,
		IPv6: r.ipv6, Files: files, Commands: commands,
	}
	if data.ControlPlane, err = r.controlPlane(); err != nil {
		return nil, err
	}
	for _, w := range c.WorkerNodeGroupConfigurations {
		group, err := r.workers(w)
		if err != nil {
			return nil, err
		}
		data.Workers = append(data.Workers, group)
	}
	text, err := templates.DockerCluster(data)
	if err != nil {
		return nil, err
	}
	r.templates = append([]string{text}, r.templates...)
	all := []byte(strings.Join(r.templates, "---\n"))
	if err := check(all); err != nil {
		return nil, fmt.Errorf("render Cluster API's objects: %w", err)
	}
	return all, nil
}

// imageVersion is the version in a node image's tag.
var imageVersion = regexp.MustCompile(`:(v[0-9]+\.[0-9]+\.[0-9]+[^@]*)(@|$)`)

func kubernetesVersion(s *spec.Spec, o Options) (string, error) {
	minor := s.Cluster.Spec.KubernetesVersion
	versions := []string{o.KubernetesVersion}
	if m := imageVersion.FindStringSubmatch(s.Docker.Spec.NodeImage); m != nil {
		versions = append(versions, m[1])
	}
	for _, v := range append(versions, nodeVersions[minor]) {
		if strings.HasPrefix(v, "v"+minor+".") {
			return v, nil
		}
	}
	return "", fmt.Errorf("%s: spec.kubernetesVersion: no node image of Kubernetes %s is known: name one, with its version as the tag, in spec.nodeImage of the %s", s.File, minor, v1alpha1.DockerDatacenterConfigKind)
}

// isIPv6 tells whether addresses are of IPv6 first.
func isIPv6(n v1alpha1.ClusterNetwork) bool {
	for _, block := range slices.Concat(n.Services.CIDRBlocks, n.Pods.CIDRBlocks) {
		prefix, err := netip.ParsePrefix(block)
		return err == nil && prefix.Addr().Is6()
	}
	return false
}

// renderer collects the templates of machines.
type renderer struct {
	spec      *spec.Spec
	files     []bootstrapv1.File
	commands  []string
	ipv6      bool
	templates []string
}

func (r *renderer) controlPlane() (templates.DockerMachinesData, error) {
	c := r.spec.Cluster.Spec
	cp := c.ControlPlaneConfiguration
	node := r.node(cp.Labels, cp.Taints)
	if len(cp.Taints) == 0 && !hasWorkers(c.WorkerNodeGroupConfigurations) {
		// There is nowhere else for pods to go.
		node.Taints = &[]corev1.Taint{}
	}
	m := templates.DockerMachinesData{Name: r.spec.Name + "-control-plane", Replicas: cp.Count, Node: node}
	var err error
	m.MachineTemplate, err = r.machineTemplate(m.Name)
	return m, err
}

func hasWorkers(groups []v1alpha1.WorkerNodeGroupConfiguration) bool {
	return slices.ContainsFunc(groups, func(w v1alpha1.WorkerNodeGroupConfiguration) bool { return w.Count == nil || *w.Count > 0 })
}

func (r *renderer) workers(w v1alpha1.WorkerNodeGroupConfiguration) (templates.DockerMachinesData, error) {
	m := templates.DockerMachinesData{Name: r.spec.Name + "-" + w.Name, Replicas: 1}
	if w.Count != nil {
		m.Replicas = *w.Count
	}
	var err error
	if m.MachineTemplate, err = r.machineTemplate(m.Name); err != nil {
		return m, err
	}
	m.ConfigTemplate, err = r.template(m.Name, func(name string) (string, error) {
		return templates.DockerConfigTemplate(templates.DockerConfigTemplateData{
			Name: name, Namespace: r.spec.Namespace,
			Node: r.node(w.Labels, w.Taints), Files: r.files, Commands: r.commands,
		})
	})
	return m, err
}

func (r *renderer) machineTemplate(base string) (string, error) {
	return r.template(base, func(name string) (string, error) {
		return templates.DockerMachineTemplate(templates.DockerMachineTemplateData{Name: name, Namespace: r.spec.Namespace, Image: r.spec.Docker.Spec.NodeImage})
	})
}

// template renders a template under a name that ends in a digest of what it
// says, and returns the name. Groups may share one: a group may be named as the
// control plane is.
func (r *renderer) template(base string, render func(name string) (string, error)) (string, error) {
	text, err := render(base)
	if err != nil {
		return "", err
	}
	var object struct{ Spec any }
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		return "", err
	}
	says, err := json.Marshal(object.Spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(says)
	name := base + "-" + hex.EncodeToString(sum[:4])
	if text, err = render(name); err != nil {
		return "", err
	}
	if !slices.Contains(r.templates, text) {
		r.templates = append(r.templates, text)
	}
	return name, nil
}

// node is how kubeadm registers a node with labels and taints; Kubernetes' own
// taints if there are none.
func (r *renderer) node(labels map[string]string, taints []v1alpha1.Taint) bootstrapv1.NodeRegistrationOptions {
	n := bootstrapv1.NodeRegistrationOptions{CRISocket: "unix:///var/run/containerd/containerd.sock"}
	arg := func(name, value string) {
		n.KubeletExtraArgs = append(n.KubeletExtraArgs, bootstrapv1.Arg{Name: name, Value: &value})
	}
	if r.ipv6 {
		arg("node-ip", "::")
	}
	if len(labels) > 0 {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, key+"="+labels[key])
		}
		arg("node-labels", strings.Join(pairs, ","))
	}
	if len(taints) > 0 {
		list := make([]corev1.Taint, len(taints))
		for i, t := range taints {
			list[i] = corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)}
		}
		n.Taints = &list
	}
	return n
}

// What containerd reads on a node.
const (
	proxyFile = "/etc/systemd/system/containerd.service.d/capiam-proxy.conf"
	// certsDir has a directory for each registry, and one for all others.
	certsDir  = "/etc/containerd/certs.d"
	hostsFile = certsDir + "/_default/hosts.toml"
	caFile    = certsDir + "/_default/ca.crt"
	// useCertsDir is for containerd 1.x, which does not look there by itself.
	useCertsDir = `grep -q config_path /etc/containerd/config.toml || printf '\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "` + certsDir + `"\n' >> /etc/containerd/config.toml`
)

// nodeFiles returns the files that make containerd go through the cluster's
// proxy and to its registry mirror, and the commands that make it read them.
func nodeFiles(c *v1alpha1.ClusterSpec) (files []bootstrapv1.File, commands []string, err error) {
	add := func(path, mode, content string) {
		files = append(files, bootstrapv1.File{Path: path, Owner: "root:root", Permissions: mode, Content: content})
	}
	mirror := c.RegistryMirrorConfiguration
	if mirror != nil && mirror.Endpoint != "" {
		port := mirror.Port
		if port == "" {
			port = "443"
		}
		ca := ""
		if mirror.CACertContent != "" {
			ca = caFile
			add(caFile, "0644", mirror.CACertContent)
		}
		hosts, err := templates.RegistryHosts("https://"+net.JoinHostPort(strings.Trim(mirror.Endpoint, "[]"), port), ca)
		if err != nil {
			return nil, nil, err
		}
		add(hostsFile, "0644", hosts)
		commands = append(commands, useCertsDir)
	}
	if environment := proxyEnvironment(c); len(environment) > 0 {
		proxy, err := templates.ContainerdProxy(environment)
		if err != nil {
			return nil, nil, err
		}
		// A proxy's URL may hold a password.
		add(proxyFile, "0600", proxy)
		commands = append(commands, "systemctl daemon-reload")
	}
	if len(commands) > 0 {
		commands = append(commands, "systemctl restart containerd")
	}
	return files, commands, nil
}

// proxyEnvironment is what programs on a node need to go through the cluster's
// proxy to all but the cluster itself.
func proxyEnvironment(c *v1alpha1.ClusterSpec) map[string]string {
	p := c.ProxyConfiguration
	if p == nil || p.HTTPProxy == "" && p.HTTPSProxy == "" {
		return nil
	}
	direct := slices.Concat(
		[]string{"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"},
		c.ClusterNetwork.Pods.CIDRBlocks, c.ClusterNetwork.Services.CIDRBlocks, p.NoProxy)
	var unique []string
	for _, host := range direct {
		if !slices.Contains(unique, host) {
			unique = append(unique, host)
		}
	}
	environment := map[string]string{"NO_PROXY": strings.Join(unique, ",")}
	for name, value := range map[string]string{"HTTP_PROXY": p.HTTPProxy, "HTTPS_PROXY": p.HTTPSProxy} {
		if value != "" {
			environment[name] = value
		}
	}
	return environment
}

// check decodes every object strictly into Cluster API's own types, as far as
// they are not the Docker provider's.
func check(text []byte) error {
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			return err
		}
		var object any = &map[string]any{}
		switch head.Kind {
		case "Cluster":
			object = &clusterv1.Cluster{}
		case "MachineDeployment":
			object = &clusterv1.MachineDeployment{}
		case "KubeadmControlPlane":
			object = &controlplanev1.KubeadmControlPlane{}
		case "KubeadmConfigTemplate":
			object = &bootstrapv1.KubeadmConfigTemplate{}
		}
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
	}
}
