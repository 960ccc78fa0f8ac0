package manifests

import (
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// minimal are the values nobody can be without.
func minimal() map[string]any {
	return map[string]any{
		"image":     "registry.example.com/authenticator:v1",
		"clusterID": "test",
		"region":    "eu-west-1",
		"tls":       map[string]any{"existingSecret": "tls"},
	}
}

func TestChartLints(t *testing.T) {
	t.Parallel()
	linter := lint.AllWithKubeVersion(chartDir, minimal(), "kube-system", nil)
	for _, m := range linter.Messages {
		// An icon is for charts in a catalogue.
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

func TestEmbeddedChartIsTheDirectory(t *testing.T) {
	t.Parallel()
	c, err := Chart()
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "aws-iam-authenticator" || len(c.Schema) == 0 || len(c.Values) == 0 {
		t.Errorf("chart %q, %d bytes of schema, %d values", c.Name(), len(c.Schema), len(c.Values))
	}
	names, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(c.Templates) {
		t.Errorf("%d templates embedded, %d there", len(c.Templates), len(names))
	}
}

func TestCRDsDecodeStrictly(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("crds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatal("no CRDs")
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		embedded, err := CRD(crd.Name)
		if err != nil {
			t.Errorf("%s: the file should be named for the CRD: %v", name, err)
			continue
		}
		if embedded.GetName() != crd.Name {
			t.Errorf("%s: %q embedded", name, embedded.GetName())
		}
	}
}
