package release

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const oneBundles = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
metadata:
  name: bundles-77
  labels: {from: "us"}
  resourceVersion: "12"
spec:
  number: 77
  cliMinVersion: v0.20.0
  cliMaxVersion: v0.20.0
  versionsBundles:
  - kubeVersion: "1.32"
    certManager: {version: v1.18.2}
    eksD:
      channel: 1-32
      name: kubernetes-1-32-eks-99
      kubeVersion: v1.32.9
      gitCommit: 0123abc
      manifestUrl: https://mirror.example.com/kubernetes-1-32-eks-99.yaml
`

const oneRelease = `apiVersion: distro.eks.amazonaws.com/v1alpha1
kind: Release
metadata:
  creationTimestamp: null
  name: kubernetes-1-32-eks-99
spec:
  channel: 1-32
  number: 99
status:
  date: "2026-01-02T03:04:05Z"
  components:
  - name: livenessprobe
    gitTag: v2.2.0
    assets:
    - name: livenessprobe-image
      type: Image
      os: linux
      arch: [amd64, arm64]
      image: {uri: "public.ecr.aws/eks-distro/livenessprobe:v2.2.0"}
  - name: aws-iam-authenticator
    gitTag: v0.7.18
    assets:
    - name: aws-iam-authenticator-linux-amd64-v0.7.18.tar.gz
      type: Archive
      os: linux
      arch: [amd64]
      archive:
        uri: https://mirror.example.com/aws-iam-authenticator-linux-amd64-v0.7.18.tar.gz
        sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    - name: aws-iam-authenticator-image
      type: Image
      os: linux
      arch: [amd64, arm64]
      image: {uri: "mirror.example.com/aws-iam-authenticator:v0.7.18-eks-1-32-99"}
`

func damage(t *testing.T, doc, old, replacement string) string {
	t.Helper()
	if !strings.Contains(doc, old) {
		t.Fatalf("the document has no %q", old)
	}
	return strings.Replace(doc, old, replacement, 1)
}

func TestLoadOverride(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bundles.yaml")
	if err := os.WriteFile(path, []byte("\r\n---\r\n"+oneBundles+"--- # EKS Distro's\n"+oneRelease), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if m.Number() != 77 {
		t.Errorf("number %d, want 77", m.Number())
	}
	a, err := m.Client("1.32", "linux", "amd64")
	if err != nil || a.SHA256 != strings.Repeat("a", 64) || a.Version != "v0.7.18" {
		t.Errorf("client %+v, %v", a, err)
	}
	if image, err := m.AuthenticatorImage("1.32"); err != nil || image.URI != "mirror.example.com/aws-iam-authenticator:v0.7.18-eks-1-32-99" {
		t.Errorf("image %+v, %v", image, err)
	}
	// What the file leaves out is the built-in manifest's.
	if image, err := m.CapiamImage("1.32"); err != nil || image.URI == "" {
		t.Errorf("capiam's image %+v, %v", image, err)
	}
	if _, err := m.Client("1.36", "linux", "amd64"); err == nil {
		t.Error("a version that the file lacks was found")
	}
}

// TestBundlesForKeepsForeignFields checks the object that goes into a cluster.
func TestBundlesForKeepsForeignFields(t *testing.T) {
	t.Parallel()
	m, err := Parse("bundles.yaml", []byte(oneBundles))
	if err != nil {
		t.Fatal(err)
	}
	object := m.BundlesFor("prod", "eksa-system")
	if object.GetName() != "prod" || object.GetNamespace() != "eksa-system" || object.GetResourceVersion() != "" {
		t.Errorf("metadata %v", object.Object["metadata"])
	}
	if object.GetLabels()["from"] != "us" {
		t.Errorf("labels %v", object.GetLabels())
	}
	items, _, err := unstructured.NestedSlice(object.Object, "spec", "versionsBundles")
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := unstructured.NestedString(items[0].(map[string]any), "certManager", "version")
	if version != "v1.18.2" {
		t.Errorf("a field of EKS Anywhere's is lost: %v", items[0])
	}
	// A second object shares nothing with the first.
	object.Object["spec"].(map[string]any)["number"] = int64(0)
	if n, _, _ := unstructured.NestedInt64(m.BundlesFor("b", "c").Object, "spec", "number"); n != 77 {
		t.Errorf("number %d, want 77", n)
	}
}

// TestOverrideOfKnownRelease takes the document that is built in only where the
// file names the same place for it.
func TestOverrideOfKnownRelease(t *testing.T) {
	t.Parallel()
	builtinBundle := builtin(t).Bundles().Spec.VersionsBundles[0].EKSD
	doc := strings.NewReplacer(
		"1.32", "1.30", "channel: 1-32", "channel: 1-30", "kubernetes-1-32-eks-99.yaml", "x.yaml",
		"kubernetes-1-32-eks-99", builtinBundle.Name,
	).Replace(oneBundles)
	m, err := Parse("bundles.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Client("1.30", "linux", "amd64")
	var missing *MissingDocumentError
	if !errors.As(err, &missing) || missing.URL != "https://mirror.example.com/x.yaml" {
		t.Errorf("another place: %v, want a MissingDocumentError", err)
	}
	m, err = Parse("bundles.yaml", []byte(strings.Replace(doc, "https://mirror.example.com/x.yaml", builtinBundle.ManifestURL, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client("1.30", "linux", "amd64"); err != nil {
		t.Errorf("the same place: %v", err)
	}
}

// damagedReleases are edits of oneRelease that must be refused, and a part of
// the message.
var damagedReleases = map[string]struct {
	old, new, want string
	// schemaAllows marks what a JSON Schema cannot express.
	schemaAllows bool
}{
	"missing URI":         {old: "        uri: https://mirror.example.com/aws-iam-authenticator-linux-amd64-v0.7.18.tar.gz\n", want: "archive.uri: is missing"},
	"relative URI":        {old: "uri: https://mirror.example.com/aws", new: "uri: /aws", want: "want an https URL"},
	"plain http":          {old: "uri: https://", new: "uri: http://", want: "plain http is for loopback only", schemaAllows: true},
	"no archive":          {old: "      archive:\n", new: "      other:\n", want: `has type "Archive"`},
	"short checksum":      {old: "aaaaaaaa\n", new: "\n", want: "want 64 lower-case hexadecimal digits"},
	"upper-case checksum": {old: "sha256: aaaa", new: "sha256: AAAA", want: "want 64 lower-case hexadecimal digits"},
	"checksum not hex":    {old: "sha256: aaaa", new: "sha256: zzzz", want: "want 64 lower-case hexadecimal digits"},
	"unknown type":        {old: "type: Archive", new: "type: Binary", want: `has type "Binary"`},
	"unknown os":          {old: "os: linux\n      arch: [amd64]", new: "os: plan9\n      arch: [amd64]", want: `is "plan9"`},
	"two architectures":   {old: "arch: [amd64]\n      archive", new: "arch: [amd64, arm64]\n      archive", want: "want one architecture"},
	"no architecture":     {old: "arch: [amd64]\n      archive", new: "archive", want: "want one architecture"},
	"image, no registry":  {old: `"mirror.example.com/aws`, new: `"eks-distro/aws`, want: "want registry/repository:tag"},
	"image, no tag":       {old: ":v0.7.18-eks-1-32-99", new: "", want: "want registry/repository:tag"},
	"bad digest":          {old: `-99"}`, new: `-99", imageDigest: "sha256:12"}`, want: "imageDigest"},
	"no assets":           {old: "    gitTag: v0.7.18\n    assets:", new: "    assets: []\n    other:", want: "has none"},
	"no component":        {old: "- name: aws-iam-authenticator\n", new: "- name: other\n", want: "has no aws-iam-authenticator", schemaAllows: true},
	"wrong group":         {old: "distro.eks.amazonaws.com/v1alpha1", new: "distro.eks.amazonaws.com/v9", want: "does not belong"},
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	type refusal struct{ input, want string }
	tests := map[string]refusal{
		"empty":             {"", "has no Bundles document"},
		"not YAML":          {"{", "not YAML"},
		"a list":            {"- a\n", "cannot"},
		"another kind":      {"apiVersion: v1\nkind: Secret\n", `kind "Secret" of "v1" does not belong`},
		"no kind":           {"a: b\n", "kind none of none"},
		"two Bundles":       {oneBundles + "---\n" + oneBundles, "a second Bundles document"},
		"duplicate key":     {damage(t, oneBundles, "  number: 77\n", "  number: 77\n  number: 78\n"), "already defined"},
		"number missing":    {damage(t, oneBundles, "  number: 77\n", ""), "spec.number"},
		"no versions":       {damage(t, oneBundles, "  versionsBundles:", "  versionsBundles: []\n  other:"), "spec.versionsBundles: is empty"},
		"unquoted version":  {damage(t, oneBundles, `"1.32"`, "1.32"), "put it in quotes"},
		"odd version":       {damage(t, oneBundles, `"1.32"`, `"1.32.1"`), "want a minor version"},
		"no manifest URL":   {damage(t, oneBundles, "      manifestUrl: ", "      manifestURI: "), "manifestUrl: is missing"},
		"file URL":          {damage(t, oneBundles, "manifestUrl: https://", "manifestUrl: file://"), "want an https URL"},
		"wrong channel":     {damage(t, oneBundles, "channel: 1-32", "channel: 1-31"), `want "1-32"`},
		"path in name":      {damage(t, oneBundles, "name: kubernetes-1-32-eks-99", "name: ../../x"), "want the name of a release"},
		"unwanted Release":  {oneBundles + "---\n" + strings.ReplaceAll(oneRelease, "eks-99", "eks-98"), "is not named by the Bundles document"},
		"Release twice":     {oneBundles + "---\n" + oneRelease + "---\n" + oneRelease, "is there twice"},
		"archive twice":     {oneBundles + "---\n" + damage(t, oneRelease, "    - name: aws-iam-authenticator-image\n      type: Image\n      os: linux\n      arch: [amd64, arm64]\n      image: {uri: \"mirror.example.com/aws-iam-authenticator:v0.7.18-eks-1-32-99\"}", "    - {name: x, type: Archive, os: linux, arch: [amd64], archive: {uri: \"https://mirror.example.com/x\"}}"), "second archive for linux/amd64"},
		"password in a URL": {damage(t, oneBundles, "https://mirror", "ftp://user:hunter2@mirror"), "user:xxxxx@"},
	}
	for name, d := range damagedReleases {
		tests["release: "+name] = refusal{oneBundles + "---\n" + damage(t, oneRelease, d.old, d.new), d.want}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("my.yaml", []byte(test.input))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "my.yaml") {
				t.Errorf("error %q, want my.yaml and %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the message gives a password away")
			}
		})
	}
}

// TestParseListsAllProblems wants every fault of a file in one error, with the
// line its document starts at.
func TestParseListsAllProblems(t *testing.T) {
	t.Parallel()
	bundles := damage(t, damage(t, oneBundles, "number: 77", "number: 0"), "channel: 1-32", "channel: x")
	_, err := Parse("my.yaml", []byte(bundles+"---\n"+damage(t, oneRelease, "type: Archive", "type: Tar")))
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], "my.yaml:21: Release/kubernetes-1-32-eks-99: status.components[1].assets[0]") {
		t.Errorf("got:\n%v", err)
	}
}

func TestLoadRefusesFiles(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxManifest+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge file: %v", err)
	}
}

func TestLoadFSRefuses(t *testing.T) {
	t.Parallel()
	if _, err := LoadFS(fstest.MapFS{}); err == nil {
		t.Error("no files: accepted")
	}
	m, err := LoadFS(fstest.MapFS{BundlesFile: {Data: []byte(oneBundles)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client("1.32", "linux", "amd64"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing Release document: %v", err)
	}
	m, err = LoadFS(fstest.MapFS{
		BundlesFile:                         {Data: []byte(oneBundles)},
		"eks-d/kubernetes-1-32-eks-99.yaml": {Data: []byte(strings.Replace(oneRelease, "eks-99", "eks-98", 1))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client("1.32", "linux", "amd64"); err == nil || !strings.Contains(err.Error(), "metadata.name") {
		t.Errorf("misnamed Release document: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(oneBundles + "---\n" + oneRelease))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("kind: Bundles\napiVersion: anywhere.eks.amazonaws.com/v1alpha1\nspec: {versionsBundles: [{}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse("f", data)
		if err != nil {
			return
		}
		m.BundlesFor("a", "b")
		for _, v := range m.KubeVersions() {
			_, _ = m.Client(v, "linux", "amd64")
			_, _ = m.AuthenticatorImage(v)
		}
	})
}
