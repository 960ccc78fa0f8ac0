package clusterapi

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/capiam/capiam/pkg/spec"
)

// ObjectError is what is wrong with an object, and what to do about it. File and
// Line are where the object, or its field, is written; empty and 0 if it is on a
// management cluster.
type ObjectError spec.Issue

// Error returns the problem as one line: file:line: Kind/name: field: message.
func (p *ObjectError) Error() string { return spec.Issue(*p).String() }

// label is what an ObjectError calls an object.
func label(u *unstructured.Unstructured) string {
	if u.GetName() == "" {
		return u.GetKind()
	}
	return u.GetKind() + "/" + u.GetName()
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

// Enable patches the manifests so that API servers ask the authenticator. It
// reports whether that changed anything.
func (m *Manifests) Enable(w Wiring) (bool, error) {
	return m.patched.edit(func(n *yaml.RNode, u *unstructured.Unstructured) (bool, error) {
		return enable(n, u, m.class, w)
	})
}

// Disable takes what Enable or EKS Anywhere set out of the manifests, and
// reports whether there was anything.
func (m *Manifests) Disable() (bool, error) {
	return m.patched.edit(func(n *yaml.RNode, u *unstructured.Unstructured) (bool, error) {
		return disable(n, u, m.class)
	})
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
