package clusterapi

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// WebhookVariable is the variable of a ClusterClass that takes the API server's
// kubeconfig, as text. A class that offers it lets capiam switch IAM logins on
// for each of its clusters.
const WebhookVariable = "awsIAMAuthenticatorWebhookKubeconfig"

// Class is what Cluster API makes a managed topology from.
type Class struct {
	ClusterClass *unstructured.Unstructured
	// ControlPlaneTemplate is what the class's control plane is made from; nil
	// if it is not known.
	ControlPlaneTemplate *unstructured.Unstructured
}

// Reference names another object of the management cluster.
type Reference struct {
	schema.GroupKind
	// Version is empty if Cluster API finds it by itself (v1beta2).
	Version string
	types.NamespacedName
}

// hasTopology tells whether Cluster API makes a cluster's objects from a class.
func hasTopology(cluster *unstructured.Unstructured) bool {
	t, found, err := unstructured.NestedFieldNoCopy(cluster.Object, "spec", "topology")
	return found && err == nil && t != nil
}

// ControlPlaneRef returns the KubeadmControlPlane that a Cluster names. Another
// kind of control plane, or none, gives a *ObjectError.
func ControlPlaneRef(cluster *unstructured.Unstructured) (Reference, error) {
	const field = "spec.controlPlaneRef"
	value, _, _ := unstructured.NestedMap(cluster.Object, "spec", "controlPlaneRef")
	fail := func(field, format string, args ...any) (Reference, error) {
		return Reference{}, &ObjectError{Object: label(cluster), Field: field, Message: fmt.Sprintf(format, args...)}
	}
	if len(value) == 0 {
		return fail(field, "is missing, and so is spec.topology: capiam needs a control plane to patch, a KubeadmControlPlane")
	}
	ref := reference(value, cluster.GetNamespace())
	if ref.GroupKind != kubeadmControlPlane {
		return fail(field+".kind", "is %s of %s: capiam patches a KubeadmControlPlane of %s only. %s", ref.Kind, ref.Group, kubeadmControlPlane.Group, instead(ref.Kind))
	}
	if ref.Name == "" {
		return fail(field+".name", "is missing")
	}
	return ref, nil
}

// instead says what to do with another kind of control plane.
func instead(kind string) string {
	switch kind {
	case "AWSManagedControlPlane":
		return "EKS has AWS IAM logins built in: it needs no capiam"
	case "AzureManagedControlPlane", "GCPManagedControlPlane", "AzureASOManagedControlPlane":
		return "Its provider runs the API servers, and cannot give them a webhook: use the provider's own identities"
	}
	return "Give its API servers the flag --" + WebhookFlag + " by the means of its provider, or make the cluster with a KubeadmControlPlane"
}

// reference reads a reference of v1beta1 or v1beta2.
func reference(value map[string]any, namespace string) Reference {
	text := func(key string) string {
		s, _ := value[key].(string)
		return s
	}
	ref := Reference{GroupKind: schema.GroupKind{Group: text("apiGroup"), Kind: text("kind")}, NamespacedName: types.NamespacedName{Namespace: namespace, Name: text("name")}}
	if gv, err := schema.ParseGroupVersion(text("apiVersion")); err == nil && !gv.Empty() {
		ref.Group, ref.Version = gv.Group, gv.Version
	}
	if ns := text("namespace"); ns != "" {
		ref.Namespace = ns
	}
	return ref
}

// ClassRef returns the ClusterClass of a Cluster; false if it has no managed
// topology.
func ClassRef(cluster *unstructured.Unstructured) (Reference, bool) {
	if !hasTopology(cluster) {
		return Reference{}, false
	}
	text := func(fields ...string) string {
		s, _, _ := unstructured.NestedString(cluster.Object, append([]string{"spec", "topology"}, fields...)...)
		return s
	}
	ref := Reference{GroupKind: clusterClassKind, NamespacedName: types.NamespacedName{Namespace: cluster.GetNamespace()}}
	if cluster.GroupVersionKind().Version == "v1beta1" {
		ref.Name = text("class")
		if ns := text("classNamespace"); ns != "" {
			ref.Namespace = ns
		}
		return ref, true
	}
	ref.Name = text("classRef", "name")
	if ns := text("classRef", "namespace"); ns != "" {
		ref.Namespace = ns
	}
	return ref, true
}

// ControlPlaneTemplateRef returns what a ClusterClass makes control planes from.
func ControlPlaneTemplateRef(class *unstructured.Unstructured) Reference {
	field := "templateRef"
	if class.GroupVersionKind().Version == "v1beta1" {
		field = "ref"
	}
	value, _, _ := unstructured.NestedMap(class.Object, "spec", "controlPlane", field)
	return reference(value, class.GetNamespace())
}

// ClassRef returns the ClusterClass of the manifests' cluster, and whether it
// has to be looked up on the management cluster and given to UseClass, because
// the cluster has a topology and the class is not among the manifests.
func (m *Manifests) ClassRef() (ref Reference, missing bool) {
	ref, topology := ClassRef(m.cluster.object)
	ref.Namespace = m.namespaceOf(ref.Namespace)
	return ref, topology && m.class == nil
}

// UseClass gives the manifests the class of their cluster.
func (m *Manifests) UseClass(class *Class) { m.class = class }

// findClass finds the cluster's class among the manifests; nil if it is not
// there.
func (m *Manifests) findClass() *Class {
	ref, ok := ClassRef(m.cluster.object)
	if !ok {
		return nil
	}
	d, err := m.find(ref)
	if d == nil || err != nil {
		return nil
	}
	class := &Class{ClusterClass: d.object}
	if t, err := m.find(ControlPlaneTemplateRef(d.object)); t != nil && err == nil {
		class.ControlPlaneTemplate = t.object
	}
	return class
}

func inspectTopology(u *unstructured.Unstructured, class *Class) (settings, error) {
	return settings{}, &ObjectError{Object: label(u), Field: "spec.topology", Message: "managed topologies are not supported yet"}
}

func enableTopology(n *yaml.RNode, u *unstructured.Unstructured, class *Class, webhook []byte) error {
	_, err := inspectTopology(u, class)
	return err
}

func disableTopology(n *yaml.RNode, u *unstructured.Unstructured, class *Class) (bool, error) {
	_, err := inspectTopology(u, class)
	return false, err
}
