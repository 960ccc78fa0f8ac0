package clusterapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	sigsyaml "sigs.k8s.io/yaml"
)

// Snippet is the variables and the patches that a ClusterClass needs so that
// capiam can switch IAM logins on for its clusters, as YAML below the class's
// spec. The patches are made for the class's KubeadmControlPlaneTemplate: a JSON
// patch can neither create parents nor add to a list that may not be there, and
// would replace one that is.
func (c *Class) Snippet() ([]byte, error) {
	ref := ControlPlaneTemplateRef(c.ClusterClass)
	if ref.GroupKind != kubeadmControlPlaneTemplate {
		return nil, fmt.Errorf("its control plane is %s of %s, and capiam needs a KubeadmControlPlaneTemplate of %s", ref.Kind, ref.Group, kubeadmControlPlaneTemplate.Group)
	}
	version := ref.Version
	var present map[string]any // nil has everything
	if t := c.ControlPlaneTemplate; t != nil {
		version = t.GroupVersionKind().Version
		present = t.DeepCopy().Object
	}
	var s struct {
		Spec struct {
			Variables []clusterv1.ClusterClassVariable `json:"variables"`
			Patches   []clusterv1.ClusterClassPatch    `json:"patches"`
		} `json:"spec"`
	}
	for _, v := range snippetVariables(version != "v1beta1") {
		s.Spec.Variables = append(s.Spec.Variables, clusterv1.ClusterClassVariable{
			Name:     v.name,
			Required: new(false),
			Schema: clusterv1.VariableSchema{OpenAPIV3Schema: clusterv1.JSONSchemaProps{
				Type:        "string",
				Description: v.description,
			}},
		})
		ops, err := v.ops(present)
		if err != nil {
			return nil, err
		}
		s.Spec.Patches = append(s.Spec.Patches, clusterv1.ClusterClassPatch{
			Name:      v.patch,
			EnabledIf: "{{ if ." + v.name + " }}true{{ end }}",
			Definitions: []clusterv1.PatchDefinition{{
				Selector: clusterv1.PatchSelector{
					APIVersion:     kubeadmControlPlaneTemplate.Group + "/" + version,
					Kind:           kubeadmControlPlaneTemplate.Kind,
					MatchResources: clusterv1.PatchSelectorMatch{ControlPlane: new(true)},
				},
				JSONPatches: ops,
			}},
		})
	}
	return sigsyaml.Marshal(s)
}

// snippetVariable is a variable of the snippet, and what its patch adds.
type snippetVariable struct {
	name, description, patch string
	additions                []addition
}

// templated is a variable's value in a template.
func templated(name string) string { return "{{ ." + name + " | toJson }}" }

// addition is something to add to a template: an element of a list, or a key of
// a mapping.
type addition struct {
	path []string
	// key is empty for an element.
	key   string
	value any
}

// snippetVariables are those of the snippet; list says that arguments are one.
func snippetVariables(list bool) []snippetVariable {
	root := []string{"spec", "template", "spec", "kubeadmConfigSpec"}
	apiServer := slices.Concat(root, []string{"clusterConfiguration", "apiServer"})
	files := slices.Concat(root, []string{"files"})
	arg := addition{path: slices.Concat(apiServer, []string{"extraArgs"}), key: WebhookFlag, value: WebhookFile}
	if list {
		arg.key, arg.value = "", map[string]any{"name": WebhookFlag, "value": WebhookFile}
	}
	return []snippetVariable{{
		name: WebhookVariable, patch: "awsIAMAuthenticator",
		description: "The kubeconfig by which API servers ask AWS IAM Authenticator. capiam sets it.",
		additions: []addition{
			arg,
			{path: slices.Concat(apiServer, []string{"extraVolumes"}), value: map[string]any{"name": volumeName, "hostPath": hostDir, "mountPath": containerDir, "readOnly": true}},
			{path: files, value: map[string]any{"path": hostFile, "owner": fileOwner, "permissions": fileMode, "content": templated(WebhookVariable)}},
		},
	}, {
		name: BootstrapVariable, patch: "awsIAMAuthenticatorBootstrap",
		description: "The Secret with the static pod that answers API servers of joining machines. capiam sets it.",
		additions: []addition{
			{path: files, value: map[string]any{"path": bootstrapFile, "owner": fileOwner, "permissions": bootstrapMode, "contentFrom": map[string]any{
				"secret": map[string]any{"name": templated(BootstrapVariable), "key": BootstrapKey},
			}}},
		},
	}}
}

// ops makes the JSON patch for a template, and notes in it what is there then. If
// the template is nil, it patches one that has every list: where one is missing,
// that fails, and the opposite would replace what is there.
func (v snippetVariable) ops(present map[string]any) ([]clusterv1.JSONPatch, error) {
	content := templated(v.name)
	ops := make([]clusterv1.JSONPatch, 0, len(v.additions))
	for _, a := range v.additions {
		path, value, err := a.place(present)
		if err != nil {
			return nil, err
		}
		op := clusterv1.JSONPatch{Op: "add", Path: path}
		text, err := sigsyaml.Marshal(value)
		if err != nil {
			return nil, err
		}
		if quoted := "'" + content + "'"; strings.Contains(string(text), quoted) {
			op.ValueFrom = &clusterv1.JSONPatchValue{Template: strings.Replace(string(text), quoted, content, 1)}
		} else {
			raw, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			op.Value = &apiextensionsv1.JSON{Raw: raw}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// place returns the path of the operation that adds to an object, and its
// value: the addition, within what is missing around it. It notes that in the
// object, for the operations after it.
func (a addition) place(present map[string]any) (string, any, error) {
	pointer := func(fields ...string) string { return "/" + strings.Join(fields, "/") }
	depth := len(a.path)
	if present != nil {
		for depth = 0; depth < len(a.path); depth++ {
			value, found, err := unstructured.NestedFieldNoCopy(present, a.path[:depth+1]...)
			if err != nil {
				return "", nil, err
			}
			if !found || value == nil {
				break
			}
		}
	}
	if depth == len(a.path) {
		if a.key != "" {
			return pointer(append(slices.Clone(a.path), a.key)...), a.value, nil
		}
		return pointer(append(slices.Clone(a.path), "-")...), a.value, nil
	}
	var value any = []any{a.value}
	if a.key != "" {
		value = map[string]any{a.key: a.value}
	}
	for i := len(a.path) - 1; i > depth; i-- {
		value = map[string]any{a.path[i]: value}
	}
	if err := unstructured.SetNestedField(present, value, a.path[:depth+1]...); err != nil {
		return "", nil, err
	}
	return pointer(a.path[:depth+1]...), value, nil
}
