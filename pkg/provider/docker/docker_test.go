package docker

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/spec"
)

var update = flag.Bool("update", false, "write the golden files")

// iam is what every spec has besides.
const iam = `---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata: {name: iam, namespace: NAMESPACE}
spec:
  awsRegion: us-west-2
  backendMode: [EKSConfigMap]
  mapRoles: [{roleARN: "arn:aws:iam::111122223333:role/Admin", username: admin, groups: ["system:masters"]}]
`

func parse(t testing.TB, text string) *spec.Spec {
	t.Helper()
	namespace := "default"
	if strings.Contains(text, "namespace: office") {
		namespace = "office"
	}
	s, err := spec.Parse("spec.yaml", []byte(text+strings.Replace(iam, "NAMESPACE", namespace, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func render(t testing.TB, s *spec.Spec, o Options) string {
	t.Helper()
	text, err := Render(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// cluster is a spec with more in the Cluster's spec and the datacenter's.
func cluster(more, datacenter string) string {
	return `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  kubernetesVersion: "1.36"
  datacenterRef: {kind: DockerDatacenterConfig, name: edge}
  identityProviderRefs: [{kind: AWSIamConfig, name: iam}]
` + more + `---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: DockerDatacenterConfig
metadata: {name: edge}
spec: {` + datacenter + `}
`
}

// TestGolden renders the specs in testdata.
func TestGolden(t *testing.T) {
	t.Parallel()
	specs, err := filepath.Glob("testdata/*.spec.yaml")
	if err != nil || len(specs) == 0 {
		t.Fatal(specs, err)
	}
	for _, file := range specs {
		name := strings.TrimSuffix(filepath.Base(file), ".spec.yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := parse(t, string(data))
			got := render(t, s, Options{})
			if again := render(t, s, Options{}); again != got {
				t.Errorf("rendered differently the second time: %s", cmp.Diff(got, again))
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// objects are a rendering's, decoded strictly.
type objects struct {
	cluster     clusterv1.Cluster
	docker      map[string]any
	kcp         controlplanev1.KubeadmControlPlane
	machines    map[string]dockerMachineTemplate
	configs     map[string]bootstrapv1.KubeadmConfigTemplate
	deployments []clusterv1.MachineDeployment
}

// dockerMachineTemplate is the provider's type, as far as it is used.
type dockerMachineTemplate struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Template struct {
			Spec struct {
				CustomImage string `json:"customImage"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

func read(t testing.TB, text string) objects {
	t.Helper()
	o := objects{machines: map[string]dockerMachineTemplate{}, configs: map[string]bootstrapv1.KubeadmConfigTemplate{}}
	strict := func(doc []byte, into any) {
		t.Helper()
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return o
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		switch head.Kind {
		case "Cluster":
			strict(doc, &o.cluster)
		case "DockerCluster":
			strict(doc, &o.docker)
		case "KubeadmControlPlane":
			strict(doc, &o.kcp)
		case "DockerMachineTemplate":
			var m dockerMachineTemplate
			strict(doc, &m)
			o.machines[m.Metadata.Name] = m
		case "KubeadmConfigTemplate":
			var c bootstrapv1.KubeadmConfigTemplate
			strict(doc, &c)
			o.configs[c.Name] = c
		case "MachineDeployment":
			var d clusterv1.MachineDeployment
			strict(doc, &d)
			o.deployments = append(o.deployments, d)
		default:
			t.Fatalf("a %s", head.Kind)
		}
	}
}

// TestReferences checks that whatever is named is there.
func TestReferences(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/everything.spec.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := parse(t, string(data))
	o := read(t, render(t, s, Options{}))
	if o.cluster.Spec.ControlPlaneRef.Name != o.kcp.Name || o.cluster.Spec.InfrastructureRef.Name != o.docker["metadata"].(map[string]any)["name"] {
		t.Errorf("%+v", o.cluster.Spec)
	}
	if _, ok := o.machines[o.kcp.Spec.MachineTemplate.Spec.InfrastructureRef.Name]; !ok {
		t.Errorf("no %s", o.kcp.Spec.MachineTemplate.Spec.InfrastructureRef.Name)
	}
	if len(o.deployments) != len(s.Cluster.Spec.WorkerNodeGroupConfigurations) || len(o.machines) != len(o.deployments)+1 || len(o.configs) != len(o.deployments) {
		t.Errorf("%d deployments, %d machine templates, %d configs", len(o.deployments), len(o.machines), len(o.configs))
	}
	for _, d := range o.deployments {
		if _, ok := o.machines[d.Spec.Template.Spec.InfrastructureRef.Name]; !ok {
			t.Errorf("%s: no %s", d.Name, d.Spec.Template.Spec.InfrastructureRef.Name)
		}
		if _, ok := o.configs[d.Spec.Template.Spec.Bootstrap.ConfigRef.Name]; !ok {
			t.Errorf("%s: no %s", d.Name, d.Spec.Template.Spec.Bootstrap.ConfigRef.Name)
		}
		if d.Spec.ClusterName != "edge" || d.Spec.Template.Spec.ClusterName != "edge" || d.Namespace != o.cluster.Namespace {
			t.Errorf("%+v", d)
		}
	}
}

// TestEnable switches IAM authentication on in what is rendered, with a proxy,
// a mirror and all.
func TestEnable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal", "everything"} {
		data, err := os.ReadFile("testdata/" + name + ".spec.yaml")
		if err != nil {
			t.Fatal(err)
		}
		text := render(t, parse(t, string(data)), Options{})
		m, err := clusterapi.ReadManifests([]clusterapi.Document{{File: name, Line: 1, Text: []byte(text)}}, types.NamespacedName{})
		if err != nil {
			t.Fatal(err)
		}
		webhook, err := kubeconfig.Encode(kubeconfig.Webhook("https://localhost:21362/authenticate", []byte("the CA")))
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := m.Enable(clusterapi.Wiring{Webhook: webhook}); !changed || err != nil {
			t.Fatalf("%s: changed = %t, %v", name, changed, err)
		}
		before, after := read(t, text), read(t, string(m.Encode()))
		if len(after.kcp.Spec.KubeadmConfigSpec.Files) != len(before.kcp.Spec.KubeadmConfigSpec.Files)+1 {
			t.Errorf("%s:\n%s", name, m.Encode())
		}
		if d := cmp.Diff(before.deployments, after.deployments); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestNames checks that a template's name changes with what it says, and with
// nothing else: Cluster API lets nobody change a template, and replaces machines
// when they are made from another.
func TestNames(t *testing.T) {
	t.Parallel()
	const workers = "  workerNodeGroupConfigurations: [{name: a, count: 2}, {name: b, labels: {x: a}}]\n"
	names := func(more, datacenter string) [][2]string {
		o := read(t, render(t, parse(t, cluster(more, datacenter)), Options{}))
		list := [][2]string{{o.kcp.Spec.MachineTemplate.Spec.InfrastructureRef.Name}}
		for _, d := range o.deployments {
			list = append(list, [2]string{d.Spec.Template.Spec.InfrastructureRef.Name, d.Spec.Template.Spec.Bootstrap.ConfigRef.Name})
		}
		return list
	}
	base := names(workers, "")
	for name, pattern := range map[string]string{base[0][0]: `^edge-control-plane-[0-9a-f]{8}$`, base[1][0]: `^edge-a-[0-9a-f]{8}$`, base[2][1]: `^edge-b-[0-9a-f]{8}$`} {
		if !regexp.MustCompile(pattern).MatchString(name) {
			t.Errorf("%s does not match %s", name, pattern)
		}
	}
	for _, tt := range []struct {
		name, more, datacenter string
		changed                [][2]bool // control plane, a, b; machines, config
	}{
		{"nothing", workers, "", [][2]bool{{}, {}, {}}},
		{"sizes", strings.Replace(workers, "count: 2", "count: 5", 1) + "  controlPlaneConfiguration: {count: 3}\n", "", [][2]bool{{}, {}, {}}},
		{"the image", workers, "nodeImage: example.com/node:v1.36.1", [][2]bool{{true, false}, {true, false}, {true, false}}},
		{"labels of one group", strings.Replace(workers, "x: a", "x: b", 1), "", [][2]bool{{}, {}, {false, true}}},
		{"taints of one group", strings.Replace(workers, "count: 2", "taints: [{key: a, effect: NoSchedule}]", 1), "", [][2]bool{{}, {false, true}, {}}},
		{"the proxy", workers + "  proxyConfiguration: {httpsProxy: \"http://proxy.example.com:3128\"}\n", "", [][2]bool{{}, {false, true}, {false, true}}},
		{"the mirror", workers + "  registryMirrorConfiguration: {endpoint: mirror.example.com}\n", "", [][2]bool{{}, {false, true}, {false, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := names(tt.more, tt.datacenter)
			var changed [][2]bool
			for i := range got {
				changed = append(changed, [2]bool{got[i][0] != base[i][0], got[i][1] != base[i][1]})
			}
			if d := cmp.Diff(tt.changed, changed); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestGroupNamedControlPlane checks that templates of one name are one object.
func TestGroupNamedControlPlane(t *testing.T) {
	t.Parallel()
	text := render(t, parse(t, cluster("  workerNodeGroupConfigurations: [{name: control-plane}]\n", "")), Options{})
	if n := strings.Count(text, "kind: DockerMachineTemplate\nmetadata:"); n != 1 {
		t.Errorf("%d machine templates:\n%s", n, text)
	}
}

// TestStrings checks that values YAML would take for something else than text
// stay text.
func TestStrings(t *testing.T) {
	t.Parallel()
	o := read(t, render(t, parse(t, cluster(`  controlPlaneConfiguration:
    taints: [{key: "1", value: "true", effect: NoSchedule}]
    labels: {a: "yes", b: "0640", c: ""}
  workerNodeGroupConfigurations:
    - {name: "0", taints: [{key: "on", value: "1e3", effect: NoExecute}]}
`, "")), Options{}))
	taints := *o.kcp.Spec.KubeadmConfigSpec.InitConfiguration.NodeRegistration.Taints
	if len(taints) != 1 || taints[0].Key != "1" || taints[0].Value != "true" {
		t.Errorf("%+v", taints)
	}
	if d := cmp.Diff(o.kcp.Spec.KubeadmConfigSpec.InitConfiguration.NodeRegistration, o.kcp.Spec.KubeadmConfigSpec.JoinConfiguration.NodeRegistration); d != "" {
		t.Errorf("the first machine is registered otherwise than those that join: %s", d)
	}
	args := o.kcp.Spec.KubeadmConfigSpec.InitConfiguration.NodeRegistration.KubeletExtraArgs
	if len(args) != 1 || args[0].Name != "node-labels" || *args[0].Value != "a=yes,b=0640,c=" {
		t.Errorf("%+v", args)
	}
	for _, c := range o.configs {
		if taints := *c.Spec.Template.Spec.JoinConfiguration.NodeRegistration.Taints; taints[0].Key != "on" || taints[0].Value != "1e3" {
			t.Errorf("%+v", taints)
		}
	}
}

// TestControlPlaneTaints checks when the control plane takes everybody's pods.
func TestControlPlaneTaints(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		more string
		want string
	}{
		"workers":           {"  workerNodeGroupConfigurations: [{name: a}]\n", "null"},
		"no workers":        {"", "[]"},
		"groups of nobody":  {"  workerNodeGroupConfigurations: [{name: a, count: 0}]\n", "[]"},
		"taints of its own": {"  controlPlaneConfiguration: {taints: [{key: a, effect: NoSchedule}]}\n", "- effect: NoSchedule\n  key: a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := read(t, render(t, parse(t, cluster(tt.more, "")), Options{}))
			got, err := yaml.Marshal(o.kcp.Spec.KubeadmConfigSpec.InitConfiguration.NodeRegistration.Taints)
			if err != nil || string(bytes.TrimSpace(got)) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ image, option, want string }{
		{"", "", "v1.36.1"},
		{"kindest/node:v1.36.3", "", "v1.36.3"},
		{"localhost:5000/kindest/node:v1.36.2-arm.1@sha256:0123", "", "v1.36.2-arm.1"},
		{"kindest/node:v1.35.3", "", "v1.36.1"},
		{"localhost:5000/node", "", "v1.36.1"},
		{"kindest/node:v1.36.3", "v1.36.2", "v1.36.2"},
		{"kindest/node:v1.36.3", "v1.35.2", "v1.36.3"},
	} {
		image := ""
		if tt.image != "" {
			image = "nodeImage: '" + tt.image + "'"
		}
		o := read(t, render(t, parse(t, cluster("  workerNodeGroupConfigurations: [{name: a}]\n", image)), Options{KubernetesVersion: tt.option}))
		if o.kcp.Spec.Version != tt.want || o.deployments[0].Spec.Template.Spec.Version != tt.want {
			t.Errorf("%+v: %s, %s", tt, o.kcp.Spec.Version, o.deployments[0].Spec.Template.Spec.Version)
		}
	}
	s := parse(t, strings.Replace(cluster("", ""), "1.36", "1.99", 1))
	if _, err := Render(s, Options{}); err == nil || !strings.Contains(err.Error(), "spec.yaml: spec.kubernetesVersion: no node image of Kubernetes 1.99 is known: name one, with its version as the tag, in spec.nodeImage of the DockerDatacenterConfig") {
		t.Errorf("%v", err)
	}
}

// TestNodeFiles checks what containerd reads.
func TestNodeFiles(t *testing.T) {
	t.Parallel()
	const ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	for _, tt := range []struct {
		name, more string
		files      map[string]string
		commands   int
	}{
		{"nothing", "", nil, 0},
		{
			"a proxy with a password", `  proxyConfiguration: {httpProxy: "http://us%20er:p%25ss@proxy.example.com:3128", noProxy: [.example.com, localhost]}` + "\n",
			map[string]string{proxyFile: `# containerd pulls images through the cluster's proxy.
[Service]
Environment="HTTP_PROXY=http://us%%20er:p%%25ss@proxy.example.com:3128"
Environment="NO_PROXY=localhost,127.0.0.1,::1,.svc,.cluster.local,192.168.0.0/16,10.96.0.0/12,.example.com"
`}, 2,
		},
		{
			"a mirror", "  registryMirrorConfiguration: {endpoint: mirror.example.com}\n",
			map[string]string{hostsFile: `# All images come from the cluster's registry mirror.
server = "https://mirror.example.com:443"
[host."https://mirror.example.com:443"]
capabilities = ["pull", "resolve"]
`}, 2,
		},
		{
			"a mirror by address, with a CA", "  registryMirrorConfiguration:\n    endpoint: \"fd00::1\"\n    port: \"5000\"\n    caCertContent: |\n      " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n      ") + "\n",
			map[string]string{caFile: ca, hostsFile: `# All images come from the cluster's registry mirror.
server = "https://[fd00::1]:5000"
ca = "/etc/containerd/certs.d/_default/ca.crt"
[host."https://[fd00::1]:5000"]
capabilities = ["pull", "resolve"]
ca = "/etc/containerd/certs.d/_default/ca.crt"
`}, 2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := read(t, render(t, parse(t, cluster("  workerNodeGroupConfigurations: [{name: a}]\n"+tt.more, "")), Options{}))
			config := o.kcp.Spec.KubeadmConfigSpec
			var got map[string]string
			for _, f := range config.Files {
				if got == nil {
					got = map[string]string{}
				}
				got[f.Path] = f.Content
				if private := f.Permissions == "0600"; private != (f.Path == proxyFile) || f.Owner != "root:root" {
					t.Errorf("%s: %s %s", f.Path, f.Owner, f.Permissions)
				}
			}
			if d := cmp.Diff(tt.files, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if len(config.PreKubeadmCommands) != tt.commands {
				t.Errorf("%q", config.PreKubeadmCommands)
			}
			for _, c := range o.configs {
				if d := cmp.Diff(config.Files, c.Spec.Template.Spec.Files); d != "" {
					t.Errorf("the workers have other files: %s", d)
				}
				if d := cmp.Diff(config.PreKubeadmCommands, c.Spec.Template.Spec.PreKubeadmCommands); d != "" {
					t.Errorf("the workers have other commands: %s", d)
				}
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	for ranges, want := range map[string]string{
		"pods: {cidrBlocks: [\"fd00:1::/56\"]}, services: {cidrBlocks: [\"fd00:2::/112\"]}":                            "::",
		"pods: {cidrBlocks: [\"fd00:1::/56\", 10.0.0.0/16]}, services: {cidrBlocks: [\"fd00:2::/112\", 10.96.0.0/16]}": "::",
		"pods: {cidrBlocks: [10.0.0.0/16, \"fd00:1::/56\"]}, services: {cidrBlocks: [10.96.0.0/16, \"fd00:2::/112\"]}": "",
		"pods: {cidrBlocks: [10.0.0.0/16]}": "",
	} {
		o := read(t, render(t, parse(t, cluster("  workerNodeGroupConfigurations: [{name: a}]\n  clusterNetwork: {"+ranges+"}\n", "")), Options{}))
		init := o.kcp.Spec.KubeadmConfigSpec.InitConfiguration
		if init.LocalAPIEndpoint.AdvertiseAddress != want || (len(init.NodeRegistration.KubeletExtraArgs) == 1) != (want != "") {
			t.Errorf("%s: %+v", ranges, init)
		}
	}
}
