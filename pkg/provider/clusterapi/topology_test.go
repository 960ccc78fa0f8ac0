package clusterapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	controlplanev1beta1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta1" //nolint:staticcheck // what users still have
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1beta1 "sigs.k8s.io/cluster-api/api/core/v1beta1" //nolint:staticcheck // what users still have
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	sigsyaml "sigs.k8s.io/yaml"
)

func classOf(t *testing.T, version, template string) *Class {
	t.Helper()
	field := "templateRef"
	if version == "v1beta1" {
		field = "ref"
	}
	var b strings.Builder
	for line := range strings.Lines(template) {
		b.WriteString("        " + line)
	}
	return &Class{
		ClusterClass: object(t, fmt.Sprintf(`apiVersion: cluster.x-k8s.io/%[1]s
kind: ClusterClass
metadata: {name: metal, namespace: classes}
spec:
  controlPlane:
    %[2]s: {apiVersion: controlplane.cluster.x-k8s.io/%[1]s, kind: KubeadmControlPlaneTemplate, name: metal}
  infrastructure:
    %[2]s: {apiVersion: infrastructure.cluster.x-k8s.io/v1beta2, kind: DevClusterTemplate, name: metal}
`, version, field)),
		ControlPlaneTemplate: object(t, fmt.Sprintf("apiVersion: controlplane.cluster.x-k8s.io/%s\nkind: KubeadmControlPlaneTemplate\nmetadata: {name: metal, namespace: classes}\nspec:\n  template:\n    spec:\n      kubeadmConfigSpec:\n%s", version, b.String())),
	}
}

func topologyOf(t *testing.T, version, more string) *unstructured.Unstructured {
	t.Helper()
	class := "classRef: {name: metal, namespace: classes}"
	if version == "v1beta1" {
		class = "class: metal\n    classNamespace: classes"
	}
	return object(t, fmt.Sprintf("apiVersion: cluster.x-k8s.io/%s\nkind: Cluster\nmetadata: {name: edge, namespace: metal}\nspec:\n  topology:\n    %s\n    version: v1.36.3\n%s", version, class, more))
}

// withSnippet adds the snippet to the class, as a user would.
func withSnippet(t *testing.T, c *Class) (*Class, []byte) {
	t.Helper()
	text, err := c.Snippet()
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Spec map[string]any }
	if err := sigsyaml.UnmarshalStrict(text, &s); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	class := *c
	class.ClusterClass = c.ClusterClass.DeepCopy()
	for key, value := range s.Spec {
		list, _, _ := unstructured.NestedSlice(class.ClusterClass.Object, "spec", key)
		if err := unstructured.SetNestedSlice(class.ClusterClass.Object, append(list, value.([]any)...), "spec", key); err != nil {
			t.Fatal(err)
		}
	}
	return &class, text
}

// TestSnippet puts what capiam says a ClusterClass needs into one, does with it
// what Cluster API does, and looks at the control plane that comes of it.
func TestSnippet(t *testing.T) {
	t.Parallel()
	const nothing = "  initConfiguration: {}\n"
	for name, text := range map[string]string{
		"v1beta2/nothing":    nothing,
		"v1beta1/nothing":    nothing,
		"v1beta2/empty":      "  clusterConfiguration: {apiServer: {extraArgs: [], extraVolumes: []}}\n  files: []\n",
		"v1beta1/empty":      "  clusterConfiguration: {apiServer: {extraArgs: {}, extraVolumes: []}}\n  files: []\n",
		"v1beta2/null":       "  clusterConfiguration:\n  files:\n",
		"v1beta2/apiserver":  "  clusterConfiguration: {apiServer: {certSANs: [localhost]}}\n  files: [{path: /etc/motd}]\n",
		"v1beta2/everything": "  clusterConfiguration: {apiServer: {extraArgs: [{name: v, value: '4'}], extraVolumes: [{name: a, hostPath: /a, mountPath: /a}]}}\n  files: [{path: /etc/motd}]\n",
		"v1beta1/everything": "  clusterConfiguration: {apiServer: {extraArgs: {v: '4'}, extraVolumes: [{name: a, hostPath: /a, mountPath: /a}]}}\n  files: [{path: /etc/motd}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version, kind, _ := strings.Cut(name, "/")
			class, snippet := withSnippet(t, classOf(t, version, text))
			golden(t, version+"-"+kind+".yaml", snippet)
			validateClass(t, class.ClusterClass)

			webhook := webhookFor(t, "the CA")
			untouched := applyClass(t, class, nil)
			if d := cmp.Diff(class.ControlPlaneTemplate.Object, untouched.Object); d != "" {
				t.Errorf("the patch does something without the variable:\n%s", d)
			}
			patched := applyClass(t, class, map[string]any{WebhookVariable: string(webhook)})
			strictTemplate(t, patched)
			if e, err := Inspect(patched, nil, webhook); err != nil || e != Enabled {
				t.Errorf("the control plane is %s, %v", e, err)
			}
			if err := sameBesides(class.ControlPlaneTemplate, patched); err != nil {
				t.Errorf("%v:\n%s", err, cmp.Diff(class.ControlPlaneTemplate.Object, patched.Object))
			}
		})
	}
	// A template that is not known may have anything: nothing is replaced.
	class := classOf(t, "v1beta2", nothing)
	class.ControlPlaneTemplate = nil
	_, text := withSnippet(t, class)
	golden(t, "v1beta2-unknown.yaml", text)
}

// TestDocumentedSnippet checks that the manual shows what capiam says.
func TestDocumentedSnippet(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../../docs/cluster-api.md")
	if err != nil {
		t.Fatal(err)
	}
	snippet, err := os.ReadFile("testdata/snippets/v1beta2-everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manual), "```yaml\n"+string(snippet)+"```\n") {
		t.Error("docs/cluster-api.md shows another snippet than testdata/snippets/v1beta2-everything.yaml")
	}
}

// golden compares a snippet with its file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "snippets", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s: -want +got\n%s", file, d)
	}
}

// validateClass decodes a class strictly into Cluster API's own type.
func validateClass(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var typed any = &clusterv1.ClusterClass{}
	if u.GroupVersionKind().Version == "v1beta1" {
		typed = &clusterv1beta1.ClusterClass{}
	}
	if err := sigsyaml.UnmarshalStrict(data, typed); err != nil {
		t.Fatal(err)
	}
}

// applyClass does with a class's patches what Cluster API does, which cannot be
// had here without its dependencies: templates with sprig's hermetic functions,
// read as YAML, and RFC 6902. The variable has the value given, or none.
func applyClass(t *testing.T, c *Class, variables map[string]any) *unstructured.Unstructured {
	t.Helper()
	data, err := c.ClusterClass.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	class := &clusterv1.ClusterClass{}
	if err := json.Unmarshal(data, class); err != nil {
		t.Fatal(err)
	}
	render := func(text string) []byte {
		tpl, err := template.New("").Funcs(sprig.HermeticTxtFuncMap()).Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := tpl.Execute(&b, variables); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	u := c.ControlPlaneTemplate.DeepCopy()
	for _, p := range class.Spec.Patches {
		if string(render(p.EnabledIf)) != "true" {
			continue
		}
		for _, d := range p.Definitions {
			if d.Selector.APIVersion != u.GetAPIVersion() || d.Selector.Kind != u.GetKind() || !*d.Selector.MatchResources.ControlPlane {
				t.Fatalf("the patch is not for %s %s: %+v", u.GetAPIVersion(), u.GetKind(), d.Selector)
			}
			for _, op := range d.JSONPatches {
				var value any
				if op.Value != nil {
					err = json.Unmarshal(op.Value.Raw, &value)
				} else {
					err = sigsyaml.Unmarshal(render(op.ValueFrom.Template), &value)
				}
				if err != nil {
					t.Fatal(err)
				}
				addJSON(t, u.Object, op.Path, value)
			}
		}
	}
	return u
}

// addJSON is RFC 6902's operation add.
func addJSON(t *testing.T, object map[string]any, pointer string, value any) {
	t.Helper()
	fields := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	parent, last := fields[:len(fields)-1], fields[len(fields)-1]
	at, found, err := unstructured.NestedFieldNoCopy(object, parent...)
	if !found || err != nil {
		t.Fatalf("%s: nothing to add to: %v", pointer, err)
	}
	switch at := at.(type) {
	case map[string]any:
		at[last] = value
	case []any:
		if last != "-" {
			t.Fatalf("%s: Cluster API allows - only", pointer)
		}
		if err := unstructured.SetNestedSlice(object, append(at, value), parent...); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("%s: cannot add to %v", pointer, at)
	}
}

func strictTemplate(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var typed any = &controlplanev1.KubeadmControlPlaneTemplate{}
	if u.GroupVersionKind().Version == "v1beta1" {
		typed = &controlplanev1beta1.KubeadmControlPlaneTemplate{}
	}
	if err := sigsyaml.UnmarshalStrict(data, typed); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
}

// TestTopologyVariable switches a managed topology on and off through its
// class's variable.
func TestTopologyVariable(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		for name, more := range map[string]string{
			"no variables":    "",
			"other variables": "    variables: [{name: imageRepository, value: {a: yes}}, {name: count, value: 3}]\n",
		} {
			t.Run(version+"/"+name, func(t *testing.T) {
				t.Parallel()
				class, _ := withSnippet(t, classOf(t, version, "  files: []\n"))
				u := topologyOf(t, version, more)
				before := u.DeepCopy()
				webhook, other := webhookFor(t, "the CA"), webhookFor(t, "another CA")
				for _, step := range []struct {
					do      func() (bool, error)
					changed bool
					want    Enablement // by webhook
				}{
					{func() (bool, error) { return Disable(u, class) }, false, NotEnabled},
					{func() (bool, error) { return Enable(u, class, wiring(other)) }, true, EnabledOtherwise},
					{func() (bool, error) { return Enable(u, class, wiring(webhook)) }, true, Enabled},
					{func() (bool, error) { return Enable(u, class, wiring(webhook)) }, false, Enabled},
					{func() (bool, error) { return Disable(u, nil) }, true, NotEnabled},
				} {
					if changed, err := step.do(); err != nil || changed != step.changed {
						t.Fatalf("changed = %t, %v; want %t", changed, err, step.changed)
					}
					if e, err := Inspect(u, class, webhook); err != nil || e != step.want {
						t.Fatalf("%s, %v; want %s", e, err, step.want)
					}
					strictCluster(t, u)
				}
				if d := cmp.Diff(before.Object, u.Object); d != "" {
					t.Errorf("-before +after\n%s", d)
				}
			})
		}
	}
}

func strictCluster(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var typed any = &clusterv1.Cluster{}
	if u.GroupVersionKind().Version == "v1beta1" {
		typed = &clusterv1beta1.Cluster{}
	}
	if err := sigsyaml.UnmarshalStrict(data, typed); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
}

// TestTopologyWithoutVariable covers classes that do not offer the variable, or
// not rightly.
func TestTopologyWithoutVariable(t *testing.T) {
	t.Parallel()
	webhook := webhookFor(t, "the CA")
	cluster := func() *unstructured.Unstructured { return topologyOf(t, "v1beta2", "") }
	refused := func(t *testing.T, u *unstructured.Unstructured, class *Class, want string) {
		t.Helper()
		before := u.DeepCopy()
		_, err := Inspect(u, class, webhook)
		_, enableErr := Enable(u, class, wiring(webhook))
		for _, err := range []error{err, enableErr} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
		if d := cmp.Diff(before, u); d != "" {
			t.Errorf("the object was changed all the same: %s", d)
		}
	}
	t.Run("no class", func(t *testing.T) {
		t.Parallel()
		refused(t, cluster(), nil, `Cluster/edge: spec.topology: is made from the ClusterClass "metal", which is neither among the manifests nor on the management cluster`)
	})
	t.Run("offers nothing", func(t *testing.T) {
		t.Parallel()
		class := classOf(t, "v1beta2", "  files: []\n")
		snippet, err := class.Snippet()
		if err != nil {
			t.Fatal(err)
		}
		refused(t, cluster(), class, "ClusterClass/metal: spec: offers no variable awsIAMAuthenticatorWebhookKubeconfig, and its control plane does not ask the authenticator either. Add this to the class, the patch after all others:\n\n"+string(snippet))
		if changed, err := Disable(cluster(), class); changed || err != nil {
			t.Errorf("Disable: changed = %t, %v", changed, err)
		}
	})
	t.Run("no patch", func(t *testing.T) {
		t.Parallel()
		class, _ := withSnippet(t, classOf(t, "v1beta2", "  files: []\n"))
		unstructured.RemoveNestedField(class.ClusterClass.Object, "spec", "patches")
		refused(t, cluster(), class, "has the variable awsIAMAuthenticatorWebhookKubeconfig, but no patch that uses it. Add this")
	})
	t.Run("another type", func(t *testing.T) {
		t.Parallel()
		class, _ := withSnippet(t, classOf(t, "v1beta2", "  files: []\n"))
		variables, _, _ := unstructured.NestedSlice(class.ClusterClass.Object, "spec", "variables")
		variables[0].(map[string]any)["schema"] = map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}
		if err := unstructured.SetNestedSlice(class.ClusterClass.Object, variables, "spec", "variables"); err != nil {
			t.Fatal(err)
		}
		refused(t, cluster(), class, `has the variable awsIAMAuthenticatorWebhookKubeconfig, but of type "object": it has to be a string`)
	})
	t.Run("another control plane", func(t *testing.T) {
		t.Parallel()
		class := classOf(t, "v1beta2", "  files: []\n")
		class.ControlPlaneTemplate = nil
		if err := unstructured.SetNestedField(class.ClusterClass.Object, "RKE2ControlPlaneTemplate", "spec", "controlPlane", "templateRef", "kind"); err != nil {
			t.Fatal(err)
		}
		refused(t, cluster(), class, "its control plane is RKE2ControlPlaneTemplate of controlplane.cluster.x-k8s.io, and capiam needs a KubeadmControlPlaneTemplate")
	})
	t.Run("an external patch", func(t *testing.T) {
		t.Parallel()
		class := classOf(t, "v1beta2", "  files: []\n")
		status := []any{map[string]any{"name": WebhookVariable, "definitions": []any{}}}
		if err := unstructured.SetNestedSlice(class.ClusterClass.Object, status, "status", "variables"); err != nil {
			t.Fatal(err)
		}
		if changed, err := Enable(cluster(), class, wiring(webhook)); !changed || err != nil {
			t.Errorf("changed = %t, %v", changed, err)
		}
	})
	t.Run("an override", func(t *testing.T) {
		t.Parallel()
		class, _ := withSnippet(t, classOf(t, "v1beta2", "  files: []\n"))
		u := topologyOf(t, "v1beta2", "    controlPlane: {variables: {overrides: [{name: awsIAMAuthenticatorWebhookKubeconfig, value: a}]}}\n")
		refused(t, u, class, "Cluster/edge: spec.topology.controlPlane.variables.overrides[0]: overrides the variable that capiam sets for the whole cluster: remove it")
	})
	// The class has the settings for all its clusters, in its template or by a
	// patch of another name.
	for _, where := range []string{"template", "control plane"} {
		t.Run("fixed in the "+where, func(t *testing.T) {
			t.Parallel()
			class := classOf(t, "v1beta2", "  files: []\n")
			enabled := kcpWith(t, "v1beta2", flagBeta2+volume+file)
			if where == "template" {
				spec, _, _ := unstructured.NestedMap(enabled.Object, "spec", "kubeadmConfigSpec")
				if err := unstructured.SetNestedMap(class.ControlPlaneTemplate.Object, spec, "spec", "template", "spec", "kubeadmConfigSpec"); err != nil {
					t.Fatal(err)
				}
			} else {
				class.ControlPlane = enabled
			}
			u := cluster()
			if e, err := Inspect(u, class, webhook); err != nil || e != Enabled {
				t.Errorf("%s, %v", e, err)
			}
			if changed, err := Enable(u, class, wiring(webhook)); changed || err != nil {
				t.Errorf("Enable: changed = %t, %v", changed, err)
			}
			if _, err := Enable(u, class, Wiring{Webhook: webhookFor(t, "another CA")}); err == nil || !strings.Contains(err.Error(), "for another CA or address than this cluster's: let its ClusterClass offer the variable") {
				t.Errorf("Enable: %v", err)
			}
			if _, err := Disable(u, class); err == nil || !strings.Contains(err.Error(), "as all clusters of its ClusterClass metal: take it out there") {
				t.Errorf("Disable: %v", err)
			}
		})
	}
}

func TestClassRef(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		ref, ok := ClassRef(topologyOf(t, version, ""))
		if !ok || ref.Name != "metal" || ref.Namespace != "classes" {
			t.Errorf("%s: %+v, %t", version, ref, ok)
		}
		template := ControlPlaneTemplateRef(classOf(t, version, "  files: []\n").ClusterClass)
		if template.GroupKind != kubeadmControlPlaneTemplate || template.Name != "metal" || template.Namespace != "classes" || template.Version != version {
			t.Errorf("%s: %+v", version, template)
		}
	}
	m := readManifests(t, "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: edge, namespace: metal}\nspec: {topology: {classRef: {name: metal}, version: v1.36.3, controlPlane: {replicas: 5}}}\n")
	ref, missing := m.ClassRef()
	if !missing || ref.Name != "metal" || ref.Namespace != "metal" {
		t.Errorf("%+v, %t", ref, missing)
	}
	if c := m.ControlPlane(); c.Kind != "Cluster" || c.Version != "v1.36.3" || c.Replicas != 5 {
		t.Errorf("%+v", c)
	}
	if _, err := m.Enable(Wiring{Webhook: webhookFor(t, "the CA")}); err == nil || !strings.HasPrefix(err.Error(), `cluster.yaml:4: Cluster/edge: spec.topology: is made from the ClusterClass "metal"`) {
		t.Errorf("%v", err)
	}
	class, _ := withSnippet(t, classOf(t, "v1beta2", "  files: []\n"))
	m.UseClass(class)
	if changed, err := m.Enable(Wiring{Webhook: webhookFor(t, "the CA")}); !changed || err != nil {
		t.Errorf("changed = %t, %v", changed, err)
	}
}
