package clusterapi

import (
	"bytes"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kustomize/api/filters/patchstrategicmerge"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/capiam/capiam/pkg/kubeconfig"
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
)

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
	want, err := parseWebhook(webhook)
	if err != nil {
		return NotEnabled, fmt.Errorf("the API server's kubeconfig: %w", err)
	}
	s, err := inspect(u, class)
	if err != nil {
		return NotEnabled, err
	}
	return s.enablement(want), nil
}

// Enable makes the API servers of a cluster ask the authenticator as webhook, a
// kubeconfig, says, and reports whether that changed the object. It adds what is
// missing and touches nothing else; doing it again does nothing. Object and
// class are as for Inspect.
func Enable(u *unstructured.Unstructured, class *Class, webhook []byte) (bool, error) {
	return editObject(u, func(n *yaml.RNode) (bool, error) { return enable(n, u, class, webhook) })
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

// files reads the kubeconfig among the files, and whether EKS Anywhere's CA is
// there.
func (r *reader) files(s *settings, fields []string) {
	for i, f := range r.entries(fields, "path") {
		at := fmt.Sprintf("%s[%d]", strings.Join(fields, "."), i)
		switch cleaned(f["path"]) {
		case eksaCertFile:
			s.eksaCert = f["contentFrom"] != nil
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

// enable patches an object's YAML; u is the same object, decoded.
func enable(n *yaml.RNode, u *unstructured.Unstructured, class *Class, webhook []byte) (bool, error) {
	want, err := parseWebhook(webhook)
	if err != nil {
		return false, fmt.Errorf("the API server's kubeconfig: %w", err)
	}
	s, err := inspect(u, class)
	if err != nil {
		return false, err
	}
	if e := s.enablement(want); e == Enabled || e == EnabledByEKSAnywhere {
		return false, nil
	}
	if u.GroupVersionKind().GroupKind() == clusterKind {
		return true, enableTopology(n, u, s, webhook)
	}
	t, _ := targetOf(u)
	p := newPatch(t)
	if !s.flag {
		p.setArg(WebhookFlag, WebhookFile)
	}
	if !s.volume {
		p.add(mapping("name", volumeName, "hostPath", hostDir, "mountPath", containerDir, "readOnly", true), "clusterConfiguration", "apiServer", "extraVolumes")
	}
	file := mapping("path", hostFile, "owner", fileOwner, "permissions", fileMode, "content", string(webhook))
	switch {
	case !s.file:
		p.add(file, "files")
	case s.webhook != want:
		if err := p.replaceFile(n, file); err != nil {
			return false, err
		}
	}
	return true, p.apply(n)
}

// disable takes away what enable or EKS Anywhere set; u is the same object,
// decoded.
func disable(n *yaml.RNode, u *unstructured.Unstructured, class *Class) (bool, error) {
	if u.GroupVersionKind().GroupKind() == clusterKind {
		return disableTopology(n, u, class)
	}
	s, err := inspect(u, class)
	switch {
	case err != nil && s.flag:
		return false, err
	case err != nil:
		// It asks somebody else's webhook, or none.
		return false, nil
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
			p.add(mapping("path", f["path"], "$patch", "delete"), "files")
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
	return p == hostFile || p == eksaCertFile || p == eksaKeyFile
}

// patch is a strategic merge patch as kustomize applies it.
type patch struct {
	target target
	node   *yaml.RNode
	err    error
}

func newPatch(t target) *patch { return &patch{target: t, node: yaml.NewMapRNode(nil)} }

func (p *patch) empty() bool { return len(p.node.Content()) == 0 }

// add appends an element to a list below the KubeadmConfigSpec.
func (p *patch) add(element *yaml.RNode, fields ...string) {
	if p.err == nil {
		_, p.err = p.node.Pipe(
			yaml.LookupCreate(yaml.SequenceNode, slices.Concat(p.target.path, fields)...),
			yaml.Append(element.YNode()))
	}
}

// replaceFile makes a file of an object the one that is given, where it is in
// the list. kustomize puts what a patch names at a list's start in the patch's
// order, so the files before it are named too.
func (p *patch) replaceFile(n, file *yaml.RNode) error {
	list, err := n.Pipe(yaml.Lookup(slices.Concat(p.target.path, []string{"files"})...))
	if err != nil {
		return err
	}
	elements, err := list.Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		// With its comments, which kustomize would drop else.
		at := e.Field("path").Value.Copy()
		if path.Clean(at.YNode().Value) != hostFile {
			stub := mapping()
			stub.YNode().Content = append(stub.YNode().Content, yaml.NewScalarRNode("path").YNode(), at.YNode())
			p.add(stub, "files")
			continue
		}
		file.Field("path").Value.SetYNode(at.YNode())
		// Whatever else the file has would be about the old content.
		err := e.VisitFields(func(f *yaml.MapNode) error {
			if key := f.Key.YNode().Value; file.Field(key) == nil {
				with(file, key, nil)
			}
			return nil
		})
		p.add(file, "files")
		return err
	}
	return nil
}

// setArg sets an argument of the API server.
func (p *patch) setArg(name, value string) {
	if p.target.list {
		p.add(mapping("name", name, "value", value), "clusterConfiguration", "apiServer", "extraArgs")
		return
	}
	p.setField(yaml.NewStringRNode(value), name)
}

// removeArg takes an argument of the API server away.
func (p *patch) removeArg(name string) {
	if p.target.list {
		p.add(mapping("name", name, "$patch", "delete"), "clusterConfiguration", "apiServer", "extraArgs")
		return
	}
	p.setField(yaml.MakePersistentNullNode("null"), name)
}

func (p *patch) setField(value *yaml.RNode, name string) {
	if p.err == nil {
		_, p.err = p.node.Pipe(
			yaml.LookupCreate(yaml.MappingNode, slices.Concat(p.target.path, []string{"clusterConfiguration", "apiServer", "extraArgs"})...),
			yaml.SetField(name, value))
	}
}

// apply has kustomize apply the patch to an object's YAML.
func (p *patch) apply(n *yaml.RNode) error {
	if p.err != nil {
		return fmt.Errorf("make a patch: %w", p.err)
	}
	if err := addSchema(); err != nil {
		return fmt.Errorf("tell kustomize how Cluster API's lists merge: %w", err)
	}
	// kustomize drops aliases that it comes across.
	if hasAlias(n.YNode()) {
		if err := n.DeAnchor(); err != nil {
			return fmt.Errorf("expand aliases: %w", err)
		}
	}
	restore := keepPlain(n.YNode())
	if _, err := (patchstrategicmerge.Filter{Patch: p.node}).Filter([]*yaml.RNode{n}); err != nil {
		return fmt.Errorf("patch with kustomize: %w", err)
	}
	restore()
	return nil
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// keepPlain keeps two kinds of scalars from kustomize: those that it would put
// in quotes because YAML 1.1 takes them for something else than text, such as
// yes, and so do kubectl and the API server; and nulls of no letters, which it
// would drop. The function it returns makes them what they were.
func keepPlain(n *yaml.Node) (restore func()) {
	const null = "\x00"
	var plain []*yaml.Node
	walkScalars(n, false, func(n *yaml.Node, _ bool) {
		switch {
		case n.Tag == yaml.NodeTagNull && n.Value == "":
			n.Value = null
		case n.Tag == yaml.NodeTagString && n.Style == 0 && yaml.IsYaml1_1NonString(n):
			plain = append(plain, n)
		}
	})
	return func() {
		for _, n := range plain {
			n.Style = 0
		}
		// kustomize has made new nodes of these. In flow style it would write
		// no letters as an empty text.
		walkScalars(n, false, func(n *yaml.Node, flow bool) {
			switch {
			case n.Tag != yaml.NodeTagNull || n.Value != null:
			case flow:
				n.Value = "null"
			default:
				n.Value = ""
			}
		})
	}
}

func walkScalars(n *yaml.Node, flow bool, visit func(n *yaml.Node, flow bool)) {
	if n.Kind == yaml.ScalarNode {
		visit(n, flow)
	}
	for _, c := range n.Content {
		walkScalars(c, flow || n.Style&yaml.FlowStyle != 0, visit)
	}
}

// prune takes away what is empty where the patch put something.
func (t target) prune(n *yaml.RNode) error {
	paths := [][]string{
		{"clusterConfiguration", "apiServer", "extraArgs"},
		{"clusterConfiguration", "apiServer", "extraVolumes"},
		{"clusterConfiguration", "apiServer"},
		{"clusterConfiguration"},
		{"files"},
	}
	if t.bare {
		paths = append(paths, nil)
	}
	for _, fields := range paths {
		if err := clearEmpty(n, slices.Concat(t.path, fields)); err != nil {
			return err
		}
	}
	return nil
}

// clearEmpty removes the field at a path if it has nothing in it.
func clearEmpty(n *yaml.RNode, fields []string) error {
	value, err := n.Pipe(yaml.Lookup(fields...))
	if err != nil {
		return err
	}
	if value == nil || len(value.YNode().Content) > 0 || value.YNode().Kind == yaml.ScalarNode {
		return nil
	}
	last := len(fields) - 1
	return n.PipeE(yaml.Lookup(fields[:last]...), yaml.Clear(fields[last]))
}

// mapping makes a YAML mapping of keys and values in this order.
func mapping(pairs ...any) *yaml.RNode {
	n := yaml.NewMapRNode(nil)
	for i := 0; i+1 < len(pairs); i += 2 {
		with(n, pairs[i].(string), pairs[i+1])
	}
	return n
}

func with(n *yaml.RNode, key string, value any) *yaml.RNode {
	v := &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: fmt.Sprint(value)}
	switch {
	case value == nil:
		v.Tag, v.Value = yaml.NodeTagNull, "null"
	case value == true || value == false:
		v.Tag = yaml.NodeTagBool
	case strings.Contains(v.Value, "\n"):
		v.Style = yaml.LiteralStyle
	case yaml.IsYaml1_1NonString(v):
		v.Style = yaml.DoubleQuotedStyle
	}
	n.YNode().Content = append(n.YNode().Content, yaml.NewScalarRNode(key).YNode(), v)
	return n
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
		drop(u.Object, []string{"spec", "topology", "variables"}, func(v map[string]any) bool { return v["name"] == WebhookVariable })
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
