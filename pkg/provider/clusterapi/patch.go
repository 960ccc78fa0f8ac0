package clusterapi

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// What makes an API server ask the authenticator. The names and paths are EKS
// Anywhere's, so that its clusters are known for what they are and need no new
// machines to be taken over.
const (
	// WebhookFlag is the kube-apiserver's flag, without its dashes.
	WebhookFlag = "authentication-token-webhook-config-file"
	// WebhookFile is where the API server's container finds the kubeconfig.
	WebhookFile = containerDir + webhookFileName

	webhookFileName = "kubeconfig.yaml"
	volumeName      = "authconfig"
	containerDir    = "/etc/kubernetes/aws-iam-authenticator/"
	hostDir         = "/var/lib/kubeadm/aws-iam-authenticator/"
	hostFile        = hostDir + webhookFileName
	fileOwner       = "root:root"
	fileMode        = "0640"

	// bootstrapFile is where the kubelet finds the static pod that answers the
	// API server until the DaemonSet's pod does.
	bootstrapFile = "/etc/kubernetes/manifests/aws-iam-authenticator-bootstrap.yaml"
	bootstrapMode = "0600"
	// BootstrapKey is where the Secret of a Wiring has the static pod.
	BootstrapKey = "pod.yaml"
)

// Wiring is what connects API servers with the authenticator.
type Wiring struct {
	// Webhook is the kubeconfig by which an API server asks the authenticator.
	Webhook []byte
	// BootstrapSecret names a Secret in the control plane's namespace, whose
	// BootstrapKey is the static pod that stands in for the DaemonSet's on
	// machines that join; empty for none. It is by reference, so that another
	// image replaces no machine.
	BootstrapSecret string
}

// What EKS Anywhere sets besides: it gives the authenticator its certificate
// through the node's disk, and the API server reads the CA from there.
const (
	eksaVolumeName   = "awsiamcert"
	eksaHostDir      = hostDir + "pki/"
	eksaContainerDir = "/var/aws-iam-authenticator/"
	eksaCertFile     = eksaHostDir + "cert.pem"
	eksaKeyFile      = eksaHostDir + "key.pem"
	eksaCAInside     = eksaContainerDir + "cert.pem"
)

// Enablement is how far a cluster's API servers are set up to ask the
// authenticator.
type Enablement int

// Enable changes an object that is NotEnabled or EnabledOtherwise, which
// replaces the control plane's machines, and leaves the other two.
const (
	// NotEnabled is an object that has no setting of capiam's, or not all.
	NotEnabled Enablement = iota
	// Enabled is an object that says what the kubeconfig says.
	Enabled
	// EnabledOtherwise is an object whose kubeconfig trusts another CA, or
	// goes elsewhere, than it should.
	EnabledOtherwise
	// EnabledByEKSAnywhere is an object as EKS Anywhere sets it up: the API
	// server reads the CA from a file that comes from the Secret that capiam
	// takes over, so it trusts what it should.
	EnabledByEKSAnywhere
)

// Suffices tells whether Enable leaves such an object as it is.
func (e Enablement) Suffices() bool { return e == Enabled || e == EnabledByEKSAnywhere }

func (e Enablement) String() string {
	switch e {
	case NotEnabled:
		return "not enabled"
	case Enabled:
		return "enabled"
	case EnabledOtherwise:
		return "enabled with another CA or address"
	case EnabledByEKSAnywhere:
		return "enabled by EKS Anywhere"
	}
	return fmt.Sprintf("Enablement(%d)", int(e))
}

// Inspect says how far the API servers of a cluster are set up, where
// webhook is the kubeconfig they should have. The object is a
// KubeadmControlPlane, or a Cluster with a managed topology, which needs its
// class; class is nil otherwise. A setting that is somebody else's gives a
// *ObjectError.
func Inspect(u *unstructured.Unstructured, class *Class, webhook []byte) (Enablement, error) {
	s, err := inspectSetup(u, class, webhook)
	return s.Enablement, err
}

// Setup is how far a cluster's API servers are set up.
type Setup struct {
	Enablement
	// StaticPod says that machines get one.
	StaticPod bool
}

// inspectSetup is Inspect, with the static pod.
func inspectSetup(u *unstructured.Unstructured, class *Class, webhook []byte) (Setup, error) {
	want, err := parseWebhook(webhook)
	if err != nil {
		return Setup{}, fmt.Errorf("the API server's kubeconfig: %w", err)
	}
	s, err := inspect(u, class)
	if err != nil {
		return Setup{}, err
	}
	return Setup{Enablement: s.enablement(want), StaticPod: s.bootstrap}, nil
}

// Enable makes the API servers of a cluster ask the authenticator, and reports
// whether that changed the object. It adds what is missing and touches nothing
// else; doing it again does nothing. A static pod alone that is missing, or
// there, replaces no machine. Object and class are as for Inspect.
func Enable(u *unstructured.Unstructured, class *Class, w Wiring) (bool, error) {
	return editObject(u, func(n *yaml.RNode) (bool, error) { return enable(n, u, class, w) })
}

// Disable takes away what Enable or EKS Anywhere set, and reports whether that
// changed the object. What Enable had to create is gone afterwards.
func Disable(u *unstructured.Unstructured, class *Class) (bool, error) {
	return editObject(u, func(n *yaml.RNode) (bool, error) { return disable(n, u, class) })
}

// editObject runs an edit of an object's YAML on the object itself.
func editObject(u *unstructured.Unstructured, edit func(*yaml.RNode) (bool, error)) (bool, error) {
	data, err := u.MarshalJSON()
	if err != nil {
		return false, fmt.Errorf("encode %s: %w", label(u), err)
	}
	node, err := yaml.Parse(string(data))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", label(u), err)
	}
	changed, err := edit(node)
	if err != nil || !changed {
		return false, err
	}
	text, err := node.String()
	if err != nil {
		return false, fmt.Errorf("encode %s: %w", label(u), err)
	}
	after, err := decode([]byte(text))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", label(u), err)
	}
	if err := sameBesides(u, after); err != nil {
		return false, err
	}
	u.Object = after.Object
	return true, nil
}

// enable patches an object's YAML; u is the same object, decoded.
func enable(n *yaml.RNode, u *unstructured.Unstructured, class *Class, w Wiring) (bool, error) {
	want, err := parseWebhook(w.Webhook)
	if err != nil {
		return false, fmt.Errorf("the API server's kubeconfig: %w", err)
	}
	s, err := inspect(u, class)
	if err != nil {
		return false, err
	}
	if s.enablement(want).Suffices() {
		return false, nil
	}
	if u.GroupVersionKind().GroupKind() == clusterKind {
		return true, enableTopology(n, u, class, s, w)
	}
	t, _ := targetOf(u)
	p := newPatch(t)
	if !s.flag {
		p.setArg(WebhookFlag, WebhookFile)
	}
	if !s.volume {
		p.add(mapping("name", volumeName, "hostPath", hostDir, "mountPath", containerDir, "readOnly", true), "clusterConfiguration", "apiServer", "extraVolumes")
	}
	file := mapping("path", hostFile, "owner", fileOwner, "permissions", fileMode, "content", string(w.Webhook))
	switch {
	case !s.file:
		p.add(file, "files")
	case s.webhook != want:
		if err := p.replaceFile(n, file); err != nil {
			return false, err
		}
	}
	switch {
	case w.BootstrapSecret != "" && !s.bootstrap:
		p.add(bootstrapEntry(w.BootstrapSecret), "files")
	case w.BootstrapSecret == "" && s.bootstrap:
		p.removeFile(bootstrapFile)
	}
	return true, p.apply(n)
}

// bootstrapEntry is the static pod among a machine's files.
func bootstrapEntry(secret string) *yaml.RNode {
	n := mapping("path", bootstrapFile, "owner", fileOwner, "permissions", bootstrapMode)
	from := mapping()
	from.YNode().Content = append(from.YNode().Content,
		yaml.NewScalarRNode("secret").YNode(), mapping("name", secret, "key", BootstrapKey).YNode())
	n.YNode().Content = append(n.YNode().Content, yaml.NewScalarRNode("contentFrom").YNode(), from.YNode())
	return n
}

// disable takes away what enable or EKS Anywhere set; u is the same object,
// decoded.
func disable(n *yaml.RNode, u *unstructured.Unstructured, class *Class) (bool, error) {
	if u.GroupVersionKind().GroupKind() == clusterKind {
		return disableTopology(n, u, class)
	}
	s, err := inspect(u, class)
	if err != nil && s.flag {
		return false, err
	}
	if err != nil {
		return false, nil //nolint:nilerr // it asks somebody else's webhook, or none
	}
	t, _ := targetOf(u)
	p := newPatch(t)
	r := reader{object: u}
	if s.flag {
		p.removeArg(WebhookFlag)
	}
	for _, v := range r.entries(slices.Concat(t.path, []string{"clusterConfiguration", "apiServer", "extraVolumes"}), "name") {
		if isOurVolume(v) {
			p.add(mapping("name", v["name"], "$patch", "delete"), "clusterConfiguration", "apiServer", "extraVolumes")
		}
	}
	for _, f := range r.entries(slices.Concat(t.path, []string{"files"}), "path") {
		if isOurFile(f) {
			p.removeFile(f["path"])
		}
	}
	if p.empty() {
		return false, nil
	}
	if err := p.apply(n); err != nil {
		return false, err
	}
	return true, t.prune(n)
}

func isOurVolume(v map[string]any) bool {
	return v["name"] == volumeName && cleaned(v["mountPath"]) == cleaned(containerDir) ||
		v["name"] == eksaVolumeName && cleaned(v["mountPath"]) == cleaned(eksaContainerDir)
}

func isOurFile(f map[string]any) bool {
	p := cleaned(f["path"])
	return p == hostFile || p == bootstrapFile || p == eksaCertFile || p == eksaKeyFile
}

// sameBesides makes sure that a patch touched nothing but what it is for: it
// compares two objects without that. A difference is a fault of capiam or
// kustomize, and better an error than a control plane that is not the user's.
func sameBesides(before, after *unstructured.Unstructured) error {
	if reflect.DeepEqual(without(before).Object, without(after).Object) {
		return nil
	}
	return &ObjectError{Object: label(before), Message: "cannot be patched without changing more than capiam's own settings, so it was left alone; please report this with the object"}
}

// without is an object less what capiam or EKS Anywhere set, and less what is
// empty then.
func without(u *unstructured.Unstructured) *unstructured.Unstructured {
	u = u.DeepCopy()
	if u.GroupVersionKind().GroupKind() == clusterKind {
		drop(u.Object, []string{"spec", "topology", "variables"}, isOurVariable)
		dropEmpty(u.Object, "spec", "topology", "variables")
		return u
	}
	t, _ := targetOf(u)
	apiServer := slices.Concat(t.path, []string{"clusterConfiguration", "apiServer"})
	args := slices.Concat(apiServer, []string{"extraArgs"})
	if t.list {
		drop(u.Object, args, func(a map[string]any) bool { return a["name"] == WebhookFlag })
	} else {
		unstructured.RemoveNestedField(u.Object, slices.Concat(args, []string{WebhookFlag})...)
	}
	volumes := slices.Concat(apiServer, []string{"extraVolumes"})
	drop(u.Object, volumes, isOurVolume)
	files := slices.Concat(t.path, []string{"files"})
	drop(u.Object, files, isOurFile)
	for _, fields := range [][]string{args, volumes, apiServer, apiServer[:len(apiServer)-1], files, t.path, t.path[:1]} {
		dropEmpty(u.Object, fields...)
	}
	return u
}

// drop removes entries of a list.
func drop(object map[string]any, fields []string, match func(map[string]any) bool) {
	value, found, err := unstructured.NestedFieldNoCopy(object, fields...)
	list, ok := value.([]any)
	if !found || err != nil || !ok {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(list), func(e any) bool {
		m, ok := e.(map[string]any)
		return ok && match(m)
	})
	_ = unstructured.SetNestedField(object, kept, fields...) // its parents were just seen
}

// dropEmpty removes a field that is an empty list or mapping, or null.
func dropEmpty(object map[string]any, fields ...string) {
	value, found, err := unstructured.NestedFieldNoCopy(object, fields...)
	if !found || err != nil {
		return
	}
	switch v := value.(type) {
	case nil:
	case map[string]any:
		if len(v) > 0 {
			return
		}
	case []any:
		if len(v) > 0 {
			return
		}
	default:
		return
	}
	unstructured.RemoveNestedField(object, fields...)
}
