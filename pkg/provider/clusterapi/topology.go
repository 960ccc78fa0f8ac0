package clusterapi

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// WebhookVariable is the variable of a ClusterClass that takes the API server's
// kubeconfig, as text. A class that offers it lets capiam switch IAM logins on
// for each of its clusters.
const WebhookVariable = "awsIAMAuthenticatorWebhookKubeconfig"

// BootstrapVariable is the variable that takes the name of the Secret with the
// static pod of a Wiring. A class may do without.
const BootstrapVariable = "awsIAMAuthenticatorBootstrapSecret"

// isOurVariable tells whether a variable is capiam's to set.
func isOurVariable(v map[string]any) bool {
	return v["name"] == WebhookVariable || v["name"] == BootstrapVariable
}

// Class is what Cluster API makes a managed topology from.
type Class struct {
	ClusterClass *unstructured.Unstructured
	// ControlPlaneTemplate is what the class's control planes are made from;
	// nil if it is not known.
	ControlPlaneTemplate *unstructured.Unstructured
	// ControlPlane is what Cluster API made of it for the cluster; nil if it
	// has not yet.
	ControlPlane *unstructured.Unstructured
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

// inspectTopology reads what a Cluster's variables, or its class, say.
func inspectTopology(u *unstructured.Unstructured, class *Class) (settings, error) {
	if class == nil || class.ClusterClass == nil {
		ref, _ := ClassRef(u)
		return settings{}, &ObjectError{Object: label(u), Field: "spec.topology", Message: fmt.Sprintf("is made from the ClusterClass %q, which is neither among the manifests nor on the management cluster", ref.Name)}
	}
	r := reader{object: u}
	for i, v := range r.entries([]string{"spec", "topology", "controlPlane", "variables", "overrides"}, "name") {
		if isOurVariable(v) {
			r.fail(fmt.Sprintf("spec.topology.controlPlane.variables.overrides[%d]", i), "overrides the variable that capiam sets for the whole cluster: remove it")
		}
	}
	var s settings
	for _, v := range r.entries(variablesPath, "name") {
		value, _ := v["value"].(string)
		if v["name"] == BootstrapVariable && value != "" {
			s.bootstrap = true
		}
		if v["name"] == WebhookVariable && value != "" {
			s.flag, s.volume, s.file = true, true, true
			// What does not parse trusts nobody, and is replaced.
			s.webhook, _ = parseWebhook([]byte(value))
		}
	}
	if r.problem != nil {
		return s, r.problem
	}
	if offered, err := class.offers(WebhookVariable); offered || err != nil {
		return s, err
	}
	// The class may do without a variable. What Cluster API made of it counts
	// for more than what it is made from.
	for _, made := range []*unstructured.Unstructured{class.ControlPlane, class.ControlPlaneTemplate} {
		if made == nil {
			continue
		}
		if fixed, err := inspect(made, nil); err == nil && fixed.complete() {
			fixed.fixed = made
			return fixed, nil
		}
	}
	return settings{}, class.missing("offers no variable " + WebhookVariable + ", and its control plane does not ask the authenticator either")
}

var variablesPath = []string{"spec", "topology", "variables"}

// offers tells whether the class has a variable and does something with it. A
// variable that does nothing, or takes something else, gives an *ObjectError.
func (c *Class) offers(variable string) (bool, error) {
	r := reader{object: c.ClusterClass}
	for _, v := range r.entries([]string{"spec", "variables"}, "name") {
		if v["name"] != variable {
			continue
		}
		if t, _, _ := unstructured.NestedString(v, "schema", "openAPIV3Schema", "type"); t != "string" {
			return false, c.missing(fmt.Sprintf("has the variable %s, but of type %q: it has to be a string", variable, t))
		}
		if !c.uses(variable) {
			return false, c.missing("has the variable " + variable + ", but no patch that uses it")
		}
		return true, nil
	}
	// External patches bring variables of their own, which are in the status.
	for _, v := range r.entries([]string{"status", "variables"}, "name") {
		if v["name"] == variable {
			return true, nil
		}
	}
	return false, r.problem
}

// uses tells whether a patch of the class reads a variable, or may do.
func (c *Class) uses(variable string) bool {
	patches, _, _ := unstructured.NestedSlice(c.ClusterClass.Object, "spec", "patches")
	for _, p := range patches {
		patch, _ := p.(map[string]any)
		if patch["external"] != nil {
			return true
		}
		definitions, _, _ := unstructured.NestedSlice(patch, "definitions")
		for _, d := range definitions {
			definition, _ := d.(map[string]any)
			jsonPatches, _, _ := unstructured.NestedSlice(definition, "jsonPatches")
			for _, j := range jsonPatches {
				op, _ := j.(map[string]any)
				name, _, _ := unstructured.NestedString(op, "valueFrom", "variable")
				template, _, _ := unstructured.NestedString(op, "valueFrom", "template")
				if name == variable || strings.Contains(template, variable) {
					return true
				}
			}
		}
	}
	return false
}

// missing is the error that says what to put into the class.
func (c *Class) missing(what string) error {
	e := &ObjectError{Object: label(c.ClusterClass), Field: "spec"}
	snippet, err := c.Snippet()
	if err != nil {
		e.Message = fmt.Sprintf("%s: %v", what, err)
		return e
	}
	e.Message = fmt.Sprintf("%s. Add this to the class, the patch after all others:\n\n%s", what, snippet)
	return e
}

// enableTopology sets the variables.
func enableTopology(n *yaml.RNode, u *unstructured.Unstructured, class *Class, s settings, w Wiring) error {
	if s.fixed != nil {
		return &ObjectError{Object: label(u), Field: "spec.topology", Message: fmt.Sprintf("has its authenticator from %s, for another CA or address than this cluster's: let its ClusterClass offer the variable %s instead", label(s.fixed), WebhookVariable)}
	}
	p := newPatch(target{path: variablesPath[:2]})
	p.add(mapping("name", WebhookVariable, "value", string(w.Webhook)), variablesPath[2])
	if w.BootstrapSecret == "" && s.bootstrap {
		p.add(mapping("name", BootstrapVariable, "$patch", "delete"), variablesPath[2])
	}
	if w.BootstrapSecret != "" && !s.bootstrap {
		offered, err := class.offers(BootstrapVariable)
		if err != nil {
			return err
		}
		if offered {
			p.add(mapping("name", BootstrapVariable, "value", w.BootstrapSecret), variablesPath[2])
		}
	}
	return p.apply(n)
}

// disableTopology removes the variables.
func disableTopology(n *yaml.RNode, u *unstructured.Unstructured, class *Class) (bool, error) {
	r := reader{object: u}
	p := newPatch(target{path: variablesPath[:2]})
	for _, v := range r.entries(variablesPath, "name") {
		if isOurVariable(v) {
			p.add(mapping("name", v["name"], "$patch", "delete"), variablesPath[2])
		}
	}
	if !p.empty() {
		if err := p.apply(n); err != nil {
			return false, err
		}
		return true, clearEmpty(n, variablesPath)
	}
	if r.problem != nil || class == nil || class.ClusterClass == nil {
		return false, r.problem
	}
	if s, err := inspectTopology(u, class); err == nil && s.fixed != nil {
		return false, &ObjectError{Object: label(u), Field: "spec.topology", Message: fmt.Sprintf("has its authenticator from %s, as all clusters of its ClusterClass %s: take it out there", label(s.fixed), class.ClusterClass.GetName())}
	}
	return false, nil
}
