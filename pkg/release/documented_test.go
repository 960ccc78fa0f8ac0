package release

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/client-go/util/jsonpath"
)

// TestDocumentedQuery asks the object that goes into a cluster what EKS
// Anywhere's documentation asks it, by the library that kubectl does it with.
func TestDocumentedQuery(t *testing.T) {
	t.Parallel()
	m := builtin(t)
	for _, version := range m.KubeVersions() {
		query := jsonpath.New("documented")
		if err := query.Parse(`{.spec.versionsBundles[?(@.kubeVersion=="` + version + `")].eksD.manifestUrl}`); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := query.Execute(&out, m.BundlesFor("prod", "default").Object); err != nil {
			t.Fatal(err)
		}
		channel := strings.ReplaceAll(version, ".", "-")
		if got := out.String(); !strings.HasPrefix(got, "https://distro.eks.amazonaws.com/kubernetes-"+channel+"/kubernetes-"+channel+"-eks-") {
			t.Errorf("Kubernetes %s: %q", version, got)
		}
	}
}
