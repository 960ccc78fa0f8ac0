package clusterapi

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/kubeconfig"
)

// webhookConfig is what matters of a webhook's kubeconfig.
type webhookConfig struct {
	server string
	ca     string
	caFile string
}

func parseWebhook(data []byte) (webhookConfig, error) {
	cfg, err := clientcmd.Load(data)
	if err != nil {
		return webhookConfig{}, err
	}
	name := kubeconfig.WebhookCluster
	if c := cfg.Contexts[cfg.CurrentContext]; c != nil {
		name = c.Cluster
	}
	cluster := cfg.Clusters[name]
	if cluster == nil || cluster.Server == "" {
		return webhookConfig{}, fmt.Errorf("names no server")
	}
	return webhookConfig{
		server: cluster.Server,
		ca:     string(bytes.TrimSpace(cluster.CertificateAuthorityData)),
		caFile: cluster.CertificateAuthority,
	}, nil
}

// settings is what an object has of what capiam sets.
type settings struct {
	flag, volume, file bool
	// bootstrap says that there is a static pod too.
	bootstrap bool
	// webhook is the kubeconfig, if there is one.
	webhook webhookConfig
	// Of EKS Anywhere's own: its volume and the file with the CA.
	eksaVolume, eksaCert bool
	// fixed is where a managed topology has them from if not from a variable.
	fixed *unstructured.Unstructured
}

func (s settings) complete() bool { return s.flag && s.volume && s.file }

// enablement compares what is there with what should be.
func (s settings) enablement(want webhookConfig) Enablement {
	switch {
	case !s.complete():
		return NotEnabled
	case s.webhook == want:
		return Enabled
	case s.webhook.server == want.server && s.webhook.ca == "" && s.webhook.caFile == eksaCAInside && s.eksaVolume && s.eksaCert:
		return EnabledByEKSAnywhere
	}
	return EnabledOtherwise
}

// target is which of Cluster API's kinds an object is, as far as the patch
// depends on it.
type target struct {
	// path leads to the KubeadmConfigSpec.
	path []string
	// list says that extra arguments are a list of names and values
	// (v1beta2), not a map (v1beta1).
	list bool
	// bare says that an empty KubeadmConfigSpec may not stand (v1beta2).
	bare bool
}

func targetOf(u *unstructured.Unstructured) (target, bool) {
	gvk := u.GroupVersionKind()
	t := target{path: []string{"spec", "kubeadmConfigSpec"}}
	switch gvk.Version {
	case "v1beta1":
	case "v1beta2":
		t.list, t.bare = true, true
	default:
		return t, false
	}
	switch gvk.GroupKind() {
	case kubeadmControlPlane:
	case kubeadmControlPlaneTemplate:
		t.path = []string{"spec", "template", "spec", "kubeadmConfigSpec"}
	default:
		return t, false
	}
	return t, true
}

// Kinds of Cluster API.
var (
	clusterKind                 = schema.GroupKind{Group: "cluster.x-k8s.io", Kind: "Cluster"}
	clusterClassKind            = schema.GroupKind{Group: "cluster.x-k8s.io", Kind: "ClusterClass"}
	kubeadmControlPlane         = schema.GroupKind{Group: "controlplane.cluster.x-k8s.io", Kind: "KubeadmControlPlane"}
	kubeadmControlPlaneTemplate = schema.GroupKind{Group: "controlplane.cluster.x-k8s.io", Kind: "KubeadmControlPlaneTemplate"}
)

// inspect reads what an object has, and says so if it is somebody else's.
func inspect(u *unstructured.Unstructured, class *Class) (settings, error) {
	if u.GroupVersionKind().GroupKind() == clusterKind {
		return inspectTopology(u, class)
	}
	t, ok := targetOf(u)
	if !ok {
		return settings{}, &ObjectError{Object: label(u), Field: "apiVersion", Message: fmt.Sprintf("is %s %s: capiam patches a KubeadmControlPlane of %s/v1beta1 or v1beta2", u.GetAPIVersion(), u.GetKind(), kubeadmControlPlane.Group)}
	}
	r := reader{object: u}
	var s settings
	apiServer := slices.Concat(t.path, []string{"clusterConfiguration", "apiServer"})
	s.flag = r.flag(slices.Concat(apiServer, []string{"extraArgs"}), t.list)
	s.volume, s.eksaVolume = r.volumes(slices.Concat(apiServer, []string{"extraVolumes"}))
	r.files(&s, slices.Concat(t.path, []string{"files"}))
	return s, r.problem
}

// reader reads fields of one object and keeps the first thing that is wrong
// with it.
type reader struct {
	object  *unstructured.Unstructured
	problem error
}

func (r *reader) fail(field, format string, args ...any) {
	if r.problem == nil {
		r.problem = &ObjectError{Object: label(r.object), Field: field, Message: fmt.Sprintf(format, args...)}
	}
}

// at returns the value at a path; nil if there is none.
func (r *reader) at(fields []string) any {
	var value any = r.object.Object
	for i, f := range fields {
		if value == nil {
			return nil
		}
		m, ok := value.(map[string]any)
		if !ok {
			r.fail(strings.Join(fields[:i], "."), "is not a mapping: see kubectl explain %s", strings.ToLower(r.object.GetKind()))
			return nil
		}
		value = m[f]
	}
	return value
}

// entries returns the mappings of the list at a path. Their keys have to be
// there and be unique: kustomize merges by them, and neither Cluster API nor
// kubelet takes anything else.
func (r *reader) entries(fields []string, key string) []map[string]any {
	value := r.at(fields)
	if value == nil {
		return nil
	}
	field := strings.Join(fields, ".")
	list, ok := value.([]any)
	if !ok {
		r.fail(field, "is not a list")
		return nil
	}
	entries := make([]map[string]any, 0, len(list))
	seen := make(map[string]bool, len(list))
	for i, e := range list {
		m, _ := e.(map[string]any)
		name, _ := m[key].(string)
		switch at := fmt.Sprintf("%s[%d]", field, i); {
		case name == "":
			r.fail(at, "has no %s", key)
		case seen[name]:
			r.fail(at+"."+key, "is %q for the second time in this list: remove one", name)
		}
		seen[name] = true
		entries = append(entries, m)
	}
	return entries
}

// flag tells whether the API server's flag is set as it should be.
func (r *reader) flag(fields []string, list bool) bool {
	field := strings.Join(fields, ".")
	var value any
	if list {
		for i, arg := range r.entries(fields, "name") {
			if arg["name"] == WebhookFlag {
				value, field = arg["value"], fmt.Sprintf("%s[%d].value", field, i)
				if value == nil {
					value = ""
				}
			}
		}
	} else {
		args := r.at(fields)
		m, ok := args.(map[string]any)
		if args != nil && !ok {
			r.fail(field, "is not a mapping: %s has it as a list", strings.Replace(r.object.GetAPIVersion(), "v1beta1", "v1beta2", 1))
			return false
		}
		if v, ok := m[WebhookFlag]; ok {
			value, field = v, field+"."+WebhookFlag
			if v == nil {
				value = ""
			}
		}
	}
	switch value {
	case nil:
		return false
	case WebhookFile:
		return true
	}
	r.fail(field, "is %q already: the API server has one webhook for tokens; remove the argument, or make whatever it stands for do without", fmt.Sprint(value))
	return false
}

// volumes tells whether the kubeconfig's directory is mounted, and EKS
// Anywhere's other one.
func (r *reader) volumes(fields []string) (ours, eksa bool) {
	for i, v := range r.entries(fields, "name") {
		name, host, mount := v["name"], cleaned(v["hostPath"]), cleaned(v["mountPath"])
		at := fmt.Sprintf("%s[%d]", strings.Join(fields, "."), i)
		switch {
		case name == volumeName && host == cleaned(hostDir) && mount == cleaned(containerDir):
			ours = true
		case name == eksaVolumeName && host == cleaned(eksaHostDir) && mount == cleaned(eksaContainerDir):
			eksa = true
		case name == volumeName:
			r.fail(at, "has the name %q, which capiam's volume needs, and mounts %q at %q: rename it", volumeName, v["hostPath"], v["mountPath"])
		case mount == cleaned(containerDir):
			r.fail(at+".mountPath", "mounts %q at %q, where the authenticator's kubeconfig has to be (from %s): remove or move it", v["hostPath"], v["mountPath"], hostDir)
		}
	}
	return ours, eksa
}

func cleaned(v any) string {
	s, _ := v.(string)
	return path.Clean(s)
}

// files reads the kubeconfig among the files, and whether the static pod and EKS
// Anywhere's CA are there.
func (r *reader) files(s *settings, fields []string) {
	for i, f := range r.entries(fields, "path") {
		at := fmt.Sprintf("%s[%d]", strings.Join(fields, "."), i)
		switch cleaned(f["path"]) {
		case eksaCertFile:
			s.eksaCert = f["contentFrom"] != nil
		case bootstrapFile:
			if key, _, _ := unstructured.NestedString(f, "contentFrom", "secret", "key"); key != BootstrapKey {
				r.fail(at, "is not from a Secret of capiam's: %s is where capiam puts its static pod; remove this file", bootstrapFile)
				return
			}
			s.bootstrap = true
		case hostFile:
			for _, odd := range []string{"contentFrom", "encoding"} {
				if v, ok := f[odd]; ok && v != "" {
					r.fail(at+"."+odd, "is set: %s is where capiam puts its kubeconfig, in plain; remove this file", hostFile)
					return
				}
			}
			content, _ := f["content"].(string)
			webhook, err := parseWebhook([]byte(content))
			if err != nil || f["append"] == true {
				r.fail(at, "is not a webhook's kubeconfig: %s is where capiam puts its own; remove this file", hostFile)
				return
			}
			s.file, s.webhook = true, webhook
		}
	}
}
