// Package templates holds the texts capiam writes: the comment on top of
// generated files, the hint kubectl shows when a client is missing, what to do
// next after a cluster was created, and Cluster API's objects for its Docker
// provider with the files of their nodes. They are Go templates with sprig's
// functions, embedded in the program.
//
// What runs in a cluster is in package manifests.
package templates

import (
	"embed"
	"fmt"
	"strings"
	"sync"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

//go:embed *.tmpl
var files embed.FS

// parsed is parsed once, when it is first needed. Every field that a template
// names has to exist.
var parsed = sync.OnceValues(func() (*template.Template, error) {
	t := template.New("").Option("missingkey=error").
		// What a template says must depend on what it is given alone.
		Funcs(sprig.HermeticTxtFuncMap()).
		Funcs(template.FuncMap{"shell": shellQuote, "systemd": systemdQuote, "toYaml": toYAML})
	return t.ParseFS(files, "*.tmpl")
})

// Header returns the comment on top of a generated YAML file. It ends in a
// newline.
func Header(h HeaderData) (string, error) { return execute("header.tmpl", h) }

// HeaderData is what Header tells of.
type HeaderData struct {
	// Cluster is the cluster's name.
	Cluster string
	// What the file holds, a phrase without a full stop.
	What string
	// Command makes the file again.
	Command string
	// Secret says that the file holds a private key.
	Secret bool
}

// InstallHint returns what kubectl prints when the client of a users'
// kubeconfig is not installed.
func InstallHint(h InstallHintData) (string, error) {
	text, err := execute("install-hint.tmpl", h)
	return strings.TrimSpace(text), err
}

// InstallHintData is what InstallHint tells of.
type InstallHintData struct {
	// Client is "aws-iam-authenticator", "aws" or "capiam".
	Client string
	// Cluster is the cluster's name.
	Cluster string
	// URI is where the client is downloaded from; empty if that is not known.
	URI string
}

// NextSteps returns the commands to go on with after a cluster was created.
func NextSteps(n NextStepsData) (string, error) { return execute("next-steps.tmpl", n) }

// NextStepsData is what NextSteps tells of. File names are as they should be
// typed, before quoting.
type NextStepsData struct {
	// Program is how capiam was called.
	Program string
	Cluster string
	// SpecFile is the file the cluster was made from; empty if that was
	// standard input.
	SpecFile        string
	UserKubeconfig  string
	AdminKubeconfig string
	// Profiles are the names of AWS profiles that can log in. Empty if users
	// have profiles of their own.
	Profiles []string
	// ManagementFlags say which management cluster keeps the cluster, and
	// Namespace in which namespace; empty for a cluster on this machine.
	ManagementFlags []string
	Namespace       string
	// Stranger is a profile that cannot; empty if there is none.
	Stranger string
	// AWSConfigFile and AWSCredentialsFile have to be named in the environment
	// by a client that the kubeconfig does not call. Empty if the AWS tools'
	// own are meant.
	AWSConfigFile      string
	AWSCredentialsFile string
	// Environment is what else such a client needs: the way to a simulated
	// STS.
	Environment map[string]string
}

// DockerCluster returns the Cluster API objects of a cluster on Cluster API's
// Docker provider, but for the templates of its machines.
func DockerCluster(d DockerClusterData) (string, error) {
	return execute("docker-cluster.yaml.tmpl", d)
}

// DockerClusterData is what DockerCluster renders.
type DockerClusterData struct {
	Name, Namespace string
	// Version is Kubernetes's: "v1.36.1".
	Version        string
	Pods, Services []string
	// IPv6 says that addresses are of IPv6 first.
	IPv6         bool
	ControlPlane DockerMachinesData
	Workers      []DockerMachinesData
	// Files and Commands are those of control-plane machines.
	Files    any
	Commands []string
}

// DockerMachinesData is a group of machines.
type DockerMachinesData struct {
	Name     string
	Replicas int
	// MachineTemplate and ConfigTemplate are the names of its templates; a
	// control plane has no ConfigTemplate.
	MachineTemplate, ConfigTemplate string
	// Node is kubeadm's nodeRegistration of a control plane.
	Node any
}

// DockerMachineTemplate returns a DockerMachineTemplate.
func DockerMachineTemplate(d DockerMachineTemplateData) (string, error) {
	return execute("docker-machine-template.yaml.tmpl", d)
}

// DockerMachineTemplateData is what DockerMachineTemplate renders.
type DockerMachineTemplateData struct {
	Name, Namespace string
	// Image is the provider's own for the version if empty.
	Image string
}

// DockerConfigTemplate returns a KubeadmConfigTemplate of worker nodes.
func DockerConfigTemplate(d DockerConfigTemplateData) (string, error) {
	return execute("docker-config-template.yaml.tmpl", d)
}

// DockerConfigTemplateData is what DockerConfigTemplate renders.
type DockerConfigTemplateData struct {
	Name, Namespace string
	// Node is kubeadm's nodeRegistration, and Files are Cluster API's.
	Node, Files any
	Commands    []string
}

// ContainerdProxy returns the systemd drop-in that gives containerd an
// environment.
func ContainerdProxy(environment map[string]string) (string, error) {
	return execute("docker-containerd-proxy.conf.tmpl", environment)
}

// RegistryHosts returns containerd's configuration for taking all images from
// the registry at a URL. CAFile may be empty.
func RegistryHosts(url, caFile string) (string, error) {
	return execute("docker-registry-hosts.toml.tmpl", struct{ URL, CAFile string }{url, caFile})
}

func execute(name string, data any) (string, error) {
	t, err := parsed()
	if err != nil {
		return "", fmt.Errorf("parse embedded templates: %w", err)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	return b.String(), nil
}

// toYAML writes a value as YAML, without the newline at its end.
func toYAML(v any) (string, error) {
	data, err := yaml.Marshal(v)
	return strings.TrimSuffix(string(data), "\n"), err
}

// systemdQuote quotes a value for a systemd unit, where a per cent sign starts a
// specifier (systemd.syntax(7), systemd.unit(5)).
func systemdQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}

// shellQuote quotes a word for a POSIX shell, if it needs it.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
