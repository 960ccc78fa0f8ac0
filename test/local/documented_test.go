package local_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/release"
)

// TestDocumentedDownload finds the client the way EKS Anywhere's documentation
// says, letter by letter, with kubectl and yq: which release a cluster has, and
// where that release's client for Linux is. The publisher's document is served
// here, as it is in our manifest.
func TestDocumentedDownload(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	c := m.cluster("local")
	c.create(m.write("spec.yaml", example(t, "local.yaml")))

	documents, err := fs.Sub(release.Files(), "eks-d")
	if err != nil {
		t.Fatal(err)
	}
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := fs.ReadFile(documents, path.Base(r.URL.Path))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(publisher.Close)

	manifest, err := release.Default()
	if err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range manifest.KubeVersions() {
		env := []string{"KUBECONFIG=" + c.admin(), "CLUSTER_NAME=local", "KUBERNETES_VERSION=" + version}
		r := m.run(env, shell, "-c", `kubectl get bundles $CLUSTER_NAME -o jsonpath="{.spec.versionsBundles[?(@.kubeVersion==\"$KUBERNETES_VERSION\")].eksD.manifestUrl}"`)
		manifestURL, err := url.Parse(r.stdout)
		if r.code != 0 || err != nil || manifestURL.Host != "distro.eks.amazonaws.com" {
			t.Fatalf("%s: want the URL of EKS-D's release (%v)", r, err)
		}
		document := fetch(t, publisher.URL+manifestURL.Path)
		m.write("release.yaml", document)
		r = m.run(env, shell, "-c", `yq e '.status.components[] | select(.name=="aws-iam-authenticator") | .assets[] | select(.os == "linux" and .type == "Archive") | .archive.uri' < release.yaml`)
		if r.code != 0 {
			t.Fatal(r)
		}
		want := map[string]bool{}
		for _, arch := range []string{"amd64", "arm64"} {
			asset, err := manifest.Client(version, "linux", arch)
			if err != nil {
				t.Fatal(err)
			}
			want[asset.URI] = true
		}
		got := strings.Fields(r.stdout)
		for _, uri := range got {
			if !want[uri] {
				t.Errorf("Kubernetes %s: %s is not the manifest's", version, uri)
			}
		}
		if len(got) != len(want) {
			t.Errorf("Kubernetes %s: got %q, want %d archives", version, got, len(want))
		}
	}
}

// TestClientOfCluster asks the cluster for its version, and takes the client for
// it.
func TestClientOfCluster(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1)
	c := m.cluster("local")
	text := replace(t, example(t, "local.yaml"), "  backendMode:\n", "  client: {command: aws-iam-authenticator}\n  backendMode:\n")
	c.create(m.write("spec.yaml", text))

	manifest, err := release.Default()
	if err != nil {
		t.Fatal(err)
	}
	asset, err := manifest.Client("1.36", "linux", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	got := m.capiam("get", "client", "--kubeconfig", c.admin(), "--os", "linux", "--arch", "amd64", "-o", "uri").stdout
	if strings.TrimSpace(got) != asset.URI {
		t.Errorf("get client: got %q, want %q", got, asset.URI)
	}
	kubeconfig := m.capiam("get", "kubeconfig", "local").stdout
	if !strings.Contains(kubeconfig, "installHint:") || !strings.Contains(strings.Join(strings.Fields(kubeconfig), " "), "capiam install client") {
		t.Errorf("the kubeconfig does not say how to install the client:\n%s", kubeconfig)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return string(data)
}
