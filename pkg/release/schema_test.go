package release

import (
	"io/fs"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	crdFile    = "../../manifests/crds/bundles.anywhere.eks.amazonaws.com.yaml"
	schemaFile = "../../release/schema/release.schema.json"
)

// bundlesSchema reads the Bundles CRD's schema. What an API server understands
// beyond JSON Schema, the x-kubernetes fields, is passed over here.
func bundlesSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(crdFile)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := split(crdFile, data)
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	versions, _, err := unstructured.NestedSlice(docs[0].content, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	props, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	if err := compiler.AddResource("bundles.json", any(props)); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("bundles.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// TestBundlesObeyTheirCRD checks the object that goes into a cluster.
func TestBundlesObeyTheirCRD(t *testing.T) {
	t.Parallel()
	compiled := bundlesSchema(t)
	if err := compiled.Validate(builtin(t).BundlesFor("prod", "default").Object); err != nil {
		t.Error(err)
	}
	for name, damage := range map[string]func(bundle map[string]any){
		"no manifest URL":  func(b map[string]any) { delete(b["eksD"].(map[string]any), "manifestUrl") },
		"not a URL":        func(b map[string]any) { b["eksD"].(map[string]any)["manifestUrl"] = "kubernetes-1-36.yaml" },
		"number as string": func(b map[string]any) { b["kubeVersion"] = int64(1) },
		"patch version":    func(b map[string]any) { b["kubeVersion"] = "1.36.1" },
	} {
		object := builtin(t).BundlesFor("prod", "default")
		spec := object.Object["spec"].(map[string]any)
		damage(spec["versionsBundles"].([]any)[0].(map[string]any))
		if compiled.Validate(object.Object) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestReleasesObeyTheirSchema checks every Release document that is built in.
func TestReleasesObeyTheirSchema(t *testing.T) {
	t.Parallel()
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := fs.Glob(Files(), EKSDDir+"/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, CapiamFile) {
		data, err := fs.ReadFile(Files(), path)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := split(path, data)
		if err != nil || len(docs) != 1 {
			t.Fatalf("%s: %d documents, %v", path, len(docs), err)
		}
		if err := compiled.Validate(docs[0].content); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSchemaAgreesWithCheck runs the damaged Release documents of
// TestParseRefuses past the schema, which must refuse them too.
func TestSchemaAgreesWithCheck(t *testing.T) {
	t.Parallel()
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range damagedReleases {
		if test.schemaAllows {
			continue
		}
		docs, err := split(name, []byte(damage(t, oneRelease, test.old, test.new)))
		if err != nil {
			t.Fatal(err)
		}
		if compiled.Validate(docs[0].content) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
