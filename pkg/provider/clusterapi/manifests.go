package clusterapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// ObjectError is what is wrong with an object, and what to do about it.
type ObjectError struct {
	// File and Line are where the object, or its field, is written; empty and
	// 0 if it is on a management cluster.
	File string
	Line int
	// Object is Kind/name; empty if the problem is no object's.
	Object string
	// Field is the path of the field, "spec.controlPlaneRef.kind"; empty if
	// the problem is the object's as a whole.
	Field   string
	Message string
}

// Error returns the problem as one line: file:line: Kind/name: field: message.
func (p *ObjectError) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	for _, part := range []string{p.Object, p.Field, p.Message} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// label is what an ObjectError calls an object.
func label(u *unstructured.Unstructured) string {
	if u.GetName() == "" {
		return u.GetKind()
	}
	return u.GetKind() + "/" + u.GetName()
}

// Document is a YAML document of Cluster API's objects, or several.
type Document struct {
	// File and Line say where the text starts.
	File string
	Line int
	// Text is the document as it is written, with its comments and with or
	// without lines of dashes.
	Text []byte
}

// split parts a text at its document markers. A line of dashes stays with what
// comes after it, and so do comments before the first one.
func (d Document) split() []Document {
	var parts []Document
	start, at := 0, 0
	line, startLine := d.Line, d.Line
	content := false
	cut := func(line int) {
		if at > start {
			parts = append(parts, Document{File: d.File, Line: startLine, Text: d.Text[start:at]})
		}
		start, startLine, content = at, line, false
	}
	for l := range bytes.Lines(d.Text) {
		switch trimmed := bytes.TrimSpace(l); {
		case isMarker(bytes.TrimRight(l, "\r\n"), "---"):
			if content {
				cut(line)
			}
			content = true
		case isMarker(bytes.TrimRight(l, "\r\n"), "..."):
			at += len(l)
			line++
			cut(line)
			continue
		case len(trimmed) > 0 && trimmed[0] != '#' && l[0] != '%':
			content = true
		}
		at += len(l)
		line++
	}
	cut(line)
	if len(parts) == 0 {
		return []Document{d}
	}
	return parts
}

// Manifests are the Cluster API objects of one cluster, as somebody wrote them.
type Manifests struct {
	documents []*document
	// cluster is Cluster API's Cluster, patched what is to be patched: the
	// KubeadmControlPlane, or the Cluster again if it has a topology.
	cluster, patched *document
	want             types.NamespacedName
	class            *Class
}

type document struct {
	Document
	// object is nil if there are only comments.
	object *unstructured.Unstructured
}

// ReadManifests reads the objects of a cluster and finds its Cluster and its
// control plane. Parts of want that are empty are not asked for: then there has
// to be exactly one Cluster. The error, if the objects are not what is needed,
// is a *ObjectError.
func ReadManifests(docs []Document, want types.NamespacedName) (*Manifests, error) {
	m := &Manifests{want: want}
	for _, d := range docs {
		for _, part := range d.split() {
			read, err := readDocument(part)
			if err != nil {
				return nil, err
			}
			m.documents = append(m.documents, read)
		}
	}
	if err := m.findCluster(); err != nil {
		return nil, err
	}
	if err := m.findControlPlane(); err != nil {
		return nil, err
	}
	return m, nil
}

func readDocument(d Document) (*document, error) {
	read := &document{Document: d}
	fail := func(line int, format string, args ...any) error {
		return &ObjectError{File: d.File, Line: line, Message: fmt.Sprintf(format, args...)}
	}
	var first yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(d.Text)).Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		return read, nil
	case err != nil:
		return nil, fail(d.Line, "is not YAML: %v", err)
	case yaml.IsYNodeEmptyDoc(&first):
		return read, nil
	}
	root := first.Content[0]
	start := d.Line + root.Line - 1
	if root.Kind != yaml.MappingNode {
		return nil, fail(start, "is not an object: it needs apiVersion and kind")
	}
	if key := duplicateKey(root); key != nil {
		return nil, fail(d.Line+key.Line-1, "%q is there for the second time in one mapping: remove one", key.Value)
	}
	u, err := decode(d.Text)
	if err != nil {
		return nil, fail(start, "is not YAML: %v", err)
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" {
		return nil, fail(start, "is not an object: it needs apiVersion and kind")
	}
	if u.GetName() == "" {
		if _, list := u.Object["items"]; list {
			return nil, &ObjectError{File: d.File, Line: start, Object: u.GetKind(), Message: "is a list: write its items as documents of their own"}
		}
		return nil, &ObjectError{File: d.File, Line: start, Object: u.GetKind(), Field: "metadata.name", Message: "is missing"}
	}
	read.object = u
	return read, nil
}

// duplicateKey finds a key that a mapping has twice, of which YAML's readers
// take one or the other.
func duplicateKey(n *yaml.Node) *yaml.Node {
	seen := make(map[string]bool)
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.ScalarNode {
			if seen[c.Value] {
				return c
			}
			seen[c.Value] = true
		}
		if key := duplicateKey(c); key != nil {
			return key
		}
	}
	return nil
}

// decode reads an object as kubectl does.
func decode(text []byte) (*unstructured.Unstructured, error) {
	data, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil && !hasNoKind(data) {
		return nil, err
	}
	return u, nil
}

// hasNoKind tells whether an object was refused for its kind alone, which is
// said better elsewhere.
func hasNoKind(data []byte) bool {
	var v map[string]any
	return sigsyaml.Unmarshal(data, &v) == nil && (v["kind"] == nil || v["kind"] == "")
}

// findCluster finds Cluster API's Cluster.
func (m *Manifests) findCluster() error {
	var all, matching []*document
	for _, d := range m.documents {
		if d.object == nil || d.object.GroupVersionKind().GroupKind() != clusterKind {
			continue
		}
		all = append(all, d)
		if (m.want.Name == "" || d.object.GetName() == m.want.Name) &&
			(m.want.Namespace == "" || d.object.GetNamespace() == "" || d.object.GetNamespace() == m.want.Namespace) {
			matching = append(matching, d)
		}
	}
	const one = "the cluster that capiam is to work on"
	switch {
	case len(matching) == 1:
		m.cluster = matching[0]
	case len(all) == 0:
		return &ObjectError{File: m.file(), Message: fmt.Sprintf("has no object of kind %s in %s: add the cluster's objects (clusterctl generate cluster NAME prints them), or name no files if the cluster is on the management cluster already", clusterKind.Kind, clusterKind.Group)}
	case len(matching) == 0:
		return &ObjectError{File: m.file(), Message: fmt.Sprintf("has no Cluster %s: it has %s; name %s", wanted(m.want), places(all), one)}
	default:
		return matching[1].problem("", "is the second Cluster: there are %s; name %s", places(matching), one)
	}
	if v := m.cluster.object.GroupVersionKind().Version; v != "v1beta1" && v != "v1beta2" {
		return m.cluster.problem("apiVersion", "is %q: capiam knows v1beta1 and v1beta2 of %s", m.cluster.object.GetAPIVersion(), clusterKind.Group)
	}
	return nil
}

// file is the file that problems of no object are about.
func (m *Manifests) file() string {
	if len(m.documents) == 0 {
		return ""
	}
	return m.documents[0].File
}

func wanted(want types.NamespacedName) string {
	if want.Namespace == "" {
		return want.Name
	}
	return want.String()
}

// places lists objects and where they are.
func places(docs []*document) string {
	var b strings.Builder
	for i, d := range docs {
		if i > 0 {
			b.WriteString(", ")
		}
		if ns := d.object.GetNamespace(); ns != "" {
			b.WriteString(ns + "/")
		}
		fmt.Fprintf(&b, "%s (%s:%d)", d.object.GetName(), d.File, d.lineOf(""))
	}
	return b.String()
}

// findControlPlane finds what is to be patched.
func (m *Manifests) findControlPlane() error {
	if m.Topology() {
		m.patched = m.cluster
		m.class = m.findClass()
		return nil
	}
	ref, err := ControlPlaneRef(m.cluster.object)
	if err != nil {
		return m.cluster.locate(err)
	}
	d, err := m.find(ref)
	if err != nil {
		return err
	}
	if d == nil {
		return m.cluster.problem("spec.controlPlaneRef.name", "is %q, and no %s of that name in namespace %q is among the manifests: add it, or correct the name", ref.Name, ref.Kind, m.namespaceOf(ref.Namespace))
	}
	if _, ok := targetOf(d.object); !ok {
		return d.problem("apiVersion", "is %q: capiam knows v1beta1 and v1beta2 of %s", d.object.GetAPIVersion(), kubeadmControlPlane.Group)
	}
	m.patched = d
	return nil
}

// find returns the document of an object that is referred to; nil if there is
// none.
func (m *Manifests) find(ref Reference) (*document, error) {
	var found *document
	for _, d := range m.documents {
		u := d.object
		if u == nil || u.GroupVersionKind().GroupKind() != ref.GroupKind || u.GetName() != ref.Name ||
			m.namespaceOf(u.GetNamespace()) != m.namespaceOf(ref.Namespace) {
			continue
		}
		if found != nil {
			return nil, d.problem("", "is there twice, at %s:%d too: remove one", found.File, found.lineOf(""))
		}
		found = d
	}
	return found, nil
}

// namespaceOf is the namespace of an object that names namespace.
func (m *Manifests) namespaceOf(namespace string) string {
	for _, ns := range []string{namespace, m.want.Namespace} {
		if ns != "" {
			return ns
		}
	}
	return "default"
}

// Cluster is the name of Cluster API's Cluster. An object that names no
// namespace is in the one that was asked for, or in "default".
func (m *Manifests) Cluster() types.NamespacedName {
	u := m.cluster.object
	return types.NamespacedName{Namespace: m.namespaceOf(u.GetNamespace()), Name: u.GetName()}
}

// Topology tells whether Cluster API makes the control plane from a
// ClusterClass.
func (m *Manifests) Topology() bool { return hasTopology(m.cluster.object) }

// ControlPlane is what a cluster's control plane should be like.
type ControlPlane struct {
	// Kind is KubeadmControlPlane, or Cluster with a topology.
	Kind string
	types.NamespacedName
	// Version is Kubernetes's: "v1.36.3".
	Version string
	// Replicas is the number of machines.
	Replicas int
}

// ControlPlane describes the control plane.
func (m *Manifests) ControlPlane() ControlPlane {
	u := m.patched.object
	c := ControlPlane{Kind: u.GetKind(), NamespacedName: types.NamespacedName{Namespace: m.namespaceOf(u.GetNamespace()), Name: u.GetName()}, Replicas: 1}
	version, replicas := []string{"spec", "version"}, []string{"spec", "replicas"}
	if m.Topology() {
		version, replicas = []string{"spec", "topology", "version"}, []string{"spec", "topology", "controlPlane", "replicas"}
	}
	c.Version, _, _ = unstructured.NestedString(u.Object, version...)
	if n, found, err := unstructured.NestedInt64(u.Object, replicas...); found && err == nil {
		c.Replicas = int(n)
	}
	return c
}

// Inspect says how far the manifests are set up, as the function of that name.
func (m *Manifests) Inspect(webhook []byte) (Enablement, error) {
	e, err := Inspect(m.patched.object, m.class, webhook)
	return e, m.patched.locate(err)
}

// Enable patches the manifests so that API servers ask the authenticator as
// webhook, a kubeconfig, says. It reports whether that changed anything.
func (m *Manifests) Enable(webhook []byte) (bool, error) {
	return m.patched.edit(func(n *yaml.RNode, u *unstructured.Unstructured) (bool, error) {
		return enable(n, u, m.class, webhook)
	})
}

// Disable takes what Enable or EKS Anywhere set out of the manifests, and
// reports whether there was anything.
func (m *Manifests) Disable() (bool, error) {
	return m.patched.edit(func(n *yaml.RNode, u *unstructured.Unstructured) (bool, error) {
		return disable(n, u, m.class)
	})
}

// edit changes a document's object and text. Lines that have nothing to do with
// the change stay as they are; where that cannot be done, the document is as
// kustomize writes it, which keeps comments, order and style, and loses blank
// lines.
func (d *document) edit(edit func(*yaml.RNode, *unstructured.Unstructured) (bool, error)) (bool, error) {
	head, body, tail := cut(d.Text)
	crlf := bytes.Contains(body, []byte("\r\n"))
	if crlf {
		body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	}
	node, err := yaml.Parse(string(body))
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	before, err := encode(node, body)
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	changed, err := edit(node, d.object)
	if err != nil || !changed {
		return false, d.locate(err)
	}
	texts, err := encode(node, body)
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	text := texts[0]
	after, err := decode([]byte(text))
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	if err := sameBesides(d.object, after); err != nil {
		return false, d.locate(err)
	}
	for i := range texts {
		grafted, ok := graft(string(body), before[i], texts[i])
		if !ok {
			continue
		}
		if u, err := decode([]byte(grafted)); err == nil && reflect.DeepEqual(u.Object, after.Object) {
			text = grafted
			break
		}
	}
	if crlf {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	d.Text = slices.Concat(head, []byte(text), tail)
	d.object = after
	return true, nil
}

// cut splits a document's text into what comes before its content, the content,
// and what comes after. The line of dashes is what tells, and the one of dots.
func cut(text []byte) (head, body, tail []byte) {
	body = text
	for rest := text; len(rest) > 0; {
		line, next := rest, []byte(nil)
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, next = rest[:i], rest[i+1:]
		}
		switch trimmed := bytes.TrimSpace(line); {
		case isMarker(line, "---") && len(bytes.TrimSpace(line[3:])) == 0, isMarker(line, "---") && bytes.TrimSpace(line[3:])[0] == '#':
			head, body = text[:len(text)-len(next)], next
			next = nil
		case len(trimmed) == 0, trimmed[0] == '#', line[0] == '%':
		default:
			next = nil
		}
		rest = next
	}
	for at := 0; at < len(body); {
		end := len(body)
		if i := bytes.IndexByte(body[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if isMarker(bytes.TrimRight(body[at:end], "\r\n"), "...") {
			return head, body[:at], body[at:]
		}
		at = end
	}
	return head, body, nil
}

// isMarker tells whether a line is a document marker.
func isMarker(line []byte, marker string) bool {
	line = bytes.TrimSuffix(line, []byte("\r"))
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == len(marker) || line[len(marker)] == ' ' || line[len(marker)] == '\t')
}

// encode writes a node with its lists indented as in the text it was read from,
// and the other way, since a text may do both.
func encode(n *yaml.RNode, like []byte) ([2]string, error) {
	styles := [2]yaml.SequenceIndentStyle{yaml.CompactSequenceStyle, yaml.WideSequenceStyle}
	if yaml.DeriveSeqIndentStyle(string(like)) == string(yaml.WideSequenceStyle) {
		slices.Reverse(styles[:])
	}
	var texts [2]string
	for i, style := range styles {
		var b strings.Builder
		e := yaml.NewEncoderWithOptions(&b, &yaml.EncoderOptions{SeqIndent: style})
		if err := errors.Join(e.Encode(n.Document()), e.Close()); err != nil {
			return texts, err
		}
		texts[i] = b.String()
	}
	return texts, nil
}

// problem is a problem of a field of the document's object.
func (d *document) problem(field, format string, args ...any) *ObjectError {
	p := &ObjectError{File: d.File, Line: d.lineOf(field), Field: field, Message: fmt.Sprintf(format, args...)}
	if d.object != nil {
		p.Object = label(d.object)
	}
	return p
}

// locate says where a problem of the document's object is written.
func (d *document) locate(err error) error {
	var p *ObjectError
	if !errors.As(err, &p) || p.File != "" || p.Object != label(d.object) {
		return err
	}
	located := *p
	located.File, located.Line = d.File, d.lineOf(p.Field)
	return &located
}

// lineOf is the line of a field, or of as much of its path as there is.
func (d *document) lineOf(field string) int {
	var root yaml.Node
	if err := yaml.Unmarshal(d.Text, &root); err != nil || len(root.Content) == 0 {
		return d.Line
	}
	n := root.Content[0]
	line := n.Line
	for name := range strings.FieldsFuncSeq(field, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == name {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			var i int
			if _, err := fmt.Sscan(name, &i); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
				line = next.Line
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return d.Line + line - 1
}

// Encode is the manifests as they were given, but for the document that was
// patched. Documents that had no line of dashes between them get one.
func (m *Manifests) Encode() []byte {
	var b bytes.Buffer
	open := false // whether what follows would be taken for the same document
	for _, d := range m.documents {
		if b.Len() > 0 && b.Bytes()[b.Len()-1] != '\n' {
			b.WriteByte('\n')
		}
		if d.object != nil {
			if open && !startsWithMarker(d.Text) {
				b.WriteString("---\n")
			}
			_, _, tail := cut(d.Text)
			open = tail == nil
		}
		b.Write(d.Text)
	}
	return b.Bytes()
}

func startsWithMarker(text []byte) bool {
	head, _, _ := cut(text)
	if len(head) > 0 {
		return true
	}
	// A document may start on the marker's own line.
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' || line[0] == '%' {
			continue
		}
		return isMarker(bytes.TrimRight(line, "\r\n"), "---")
	}
	return false
}

// Objects are copies of the objects in the order to apply them in: namespaces,
// definitions and what others refer to first, else as they were given.
func (m *Manifests) Objects() []*unstructured.Unstructured {
	objects := make([]*unstructured.Unstructured, 0, len(m.documents))
	for _, d := range m.documents {
		if d.object != nil {
			objects = append(objects, d.object.DeepCopy())
		}
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return objects
}

func rank(u *unstructured.Unstructured) int {
	switch kind := u.GetKind(); {
	case kind == "Namespace":
		return 0
	case kind == "CustomResourceDefinition":
		return 1
	case kind == "Secret", kind == "ConfigMap", kind == "ServiceAccount":
		return 2
	case strings.HasSuffix(kind, "Template"):
		return 3
	case u.GroupVersionKind().GroupKind() == clusterClassKind:
		return 4
	}
	return 5
}
