package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

var update = flag.Bool("update", false, "write the golden files")

// partitions and a region of each.
var partitions = [][2]string{
	{"aws", "us-west-2"},
	{"aws-cn", "cn-north-1"},
	{"aws-us-gov", "us-gov-west-1"},
	{"aws-iso", "us-iso-east-1"},
	{"aws-iso-b", "us-isob-east-1"},
	{"aws-iso-e", "eu-isoe-west-1"},
	{"aws-iso-f", "us-isof-south-1"},
	{"aws-eusc", "eusc-de-east-1"},
}

func goldenInputs() map[string]Input {
	backends := func(modes ...string) Input { return testInput(testSpec("aws", "us-west-2", modes...)) }
	inputs := map[string]Input{
		"backend-eksconfigmap":             backends(v1alpha1.BackendEKSConfigMap),
		"backend-crd":                      backends(v1alpha1.BackendCRD),
		"backend-eksconfigmap-crd":         backends(v1alpha1.BackendEKSConfigMap, v1alpha1.BackendCRD),
		"backend-crd-eksconfigmap":         backends(v1alpha1.BackendCRD, v1alpha1.BackendEKSConfigMap),
		"backend-eksconfigmap-mountedfile": backends(v1alpha1.BackendEKSConfigMap, v1alpha1.BackendMountedFile),
		"backend-eksconfigmap-dynamicfile": backends(v1alpha1.BackendEKSConfigMap, v1alpha1.BackendDynamicFile),
		"everything":                       everything(),
	}
	for _, p := range partitions {
		inputs["partition-"+p[0]] = testInput(testSpec(p[0], p[1], v1alpha1.BackendEKSConfigMap))
	}
	upstream := testInput(testSpec("aws", "us-west-2", v1alpha1.BackendEKSConfigMap))
	upstream.Spec.IAM.Spec.Server.Implementation = v1alpha1.ImplementationAWSIAMAuthenticator
	upstream.Spec.IAM.Spec.Client.Command = v1alpha1.ClientAWS
	inputs["aws-iam-authenticator"] = upstream
	return inputs
}

// TestGolden compares all that is rendered with what is in testdata. Run it
// with -update after a change that is meant, and read the difference.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, in := range goldenInputs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := Render(in)
			if err != nil {
				t.Fatal(err)
			}
			got := txtar.Format(archive(t, out))
			file := filepath.Join("testdata", name+".txtar")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			for _, u := range out.Objects {
				checkTyped(t, u)
			}
			for _, f := range out.Files {
				if _, err := clientcmd.Load(f.Data); err != nil {
					t.Errorf("%s: %v", f.Path, err)
				}
				if f.Mode != 0o600 {
					t.Errorf("%s has mode %v", f.Path, f.Mode)
				}
			}
		})
	}
}

// TestNoGoldenFileIsLeftOver finds files of cases that are gone.
func TestNoGoldenFileIsLeftOver(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if inputs := goldenInputs(); len(files) != len(inputs) {
		t.Errorf("%d golden files for %d cases", len(files), len(inputs))
	}
}

func TestRenderIsDeterministic(t *testing.T) {
	t.Parallel()
	in := everything()
	first, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	want := txtar.Format(archive(t, first))
	for range 10 {
		again, err := Render(in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, txtar.Format(archive(t, again))) {
			t.Fatal("rendered differently the second time")
		}
	}
}

func archive(t *testing.T, out *Output) *txtar.Archive {
	t.Helper()
	values, err := yaml.Marshal(out.Values)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Encode(out.Objects)
	if err != nil {
		t.Fatal(err)
	}
	a := &txtar.Archive{Files: []txtar.File{
		{Name: "values.yaml", Data: values},
		{Name: "objects.yaml", Data: objects},
	}}
	if out.StaticPod != nil {
		a.Files = append(a.Files, txtar.File{Name: "static-pod.yaml", Data: out.StaticPod})
	}
	for _, f := range out.Files {
		a.Files = append(a.Files, txtar.File{Name: f.Path, Data: f.Data})
	}
	return a
}

// identityMappingSpec is the spec of the CRD's schema.
type identityMappingSpec struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ARN      string   `json:"arn"`
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	} `json:"spec"`
}

// checkTyped decodes an object strictly into its Go type, as the API server
// does: a field that is misspelt or of the wrong type is found.
func checkTyped(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	types := map[schema.GroupKind]any{
		{Kind: "ServiceAccount"}:           &corev1.ServiceAccount{},
		{Kind: "Secret"}:                   &corev1.Secret{},
		{Kind: "ConfigMap"}:                &corev1.ConfigMap{},
		{Group: "apps", Kind: "DaemonSet"}: &appsv1.DaemonSet{},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:         &rbacv1.ClusterRole{},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:  &rbacv1.ClusterRoleBinding{},
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: &apiextensionsv1.CustomResourceDefinition{},
		{Group: "iamauthenticator.k8s.aws", Kind: "IAMIdentityMapping"}:   &identityMappingSpec{},
	}
	into, ok := types[u.GroupVersionKind().GroupKind()]
	if !ok {
		t.Errorf("%s %s: what is it?", u.GetKind(), u.GetName())
		return
	}
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
	}
	if cm, ok := into.(*corev1.ConfigMap); ok && cm.Data["config.yaml"] != "" {
		if _, err := config.Parse("config.yaml", []byte(cm.Data["config.yaml"])); err != nil {
			t.Errorf("the authenticator would not take its configuration: %v", err)
		}
	}
}
