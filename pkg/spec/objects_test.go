package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// onClusterAPI is a spec whose cluster is on a management cluster already.
const onClusterAPI = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  kubernetesVersion: "1.36"
  datacenterRef: {kind: ClusterAPIDatacenterConfig, name: edge}
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: ClusterAPIDatacenterConfig
metadata: {name: edge}
`

func TestObjects(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/valid-clusterapi-objects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	s, err := Parse("spec.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.Objects {
		got = append(got, fmt.Sprintf("%s %s %s/%s", o.APIVersion, o.Kind, o.Namespace, o.Name))
		if o.File != "spec.yaml" {
			t.Errorf("%s: File = %q", o.Name, o.File)
		}
		// The text's lines are those of the file, markers and directives aside.
		for i, line := range strings.SplitAfter(strings.TrimSuffix(string(o.Text), "\n"), "\n") {
			written := strings.TrimRight(lines[o.Line-1+i], "\n")
			line = strings.TrimRight(line, "\n")
			if marker, ok := strings.CutPrefix(written, "---"); ok {
				written = strings.TrimLeft(marker, " ")
			}
			if line != written {
				t.Errorf("%s: line %d is %q, and in the file it is %q", o.Name, o.Line+i, line, written)
			}
		}
	}
	want := []string{
		"cluster.x-k8s.io/v1beta1 Cluster team-a/local",
		"v1 Namespace /team-a",
		"controlplane.cluster.x-k8s.io/v1beta1 KubeadmControlPlane team-a/local-control-plane",
		"rbac.authorization.k8s.io/v1 ClusterRole /team:a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, comments := range [][]string{{"# what clusterctl made\n", "# ${THIS} is a comment\n"}, {}, {"# before the marker\n", "# after it\n"}} {
		for _, comment := range comments {
			if !strings.Contains(string(s.Objects[i].Text), comment) {
				t.Errorf("%s has lost %q:\n%s", got[i], comment, s.Objects[i].Text)
			}
		}
	}
}

func TestClusterAPIDefaults(t *testing.T) {
	t.Parallel()
	const cluster = `---
apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: {name: %s}
`
	tests := []struct {
		name, spec  string
		cluster, in string
	}{
		{name: "nothing said", spec: onClusterAPI, cluster: "edge", in: "default"},
		{name: "the spec's namespace", spec: strings.ReplaceAll(onClusterAPI, "{name: edge}", "{name: edge, namespace: ours}"), cluster: "edge", in: "ours"},
		{name: "an object without a namespace", spec: onClusterAPI + fmt.Sprintf(cluster, "edge"), cluster: "edge", in: "default"},
		{name: "an object with a namespace", spec: onClusterAPI + fmt.Sprintf(cluster, "edge, namespace: team"), cluster: "edge", in: "team"},
		{
			name:    "its own names",
			spec:    strings.TrimSuffix(onClusterAPI, "\n") + "\nspec: {clusterName: edge-1, namespace: team}\n" + fmt.Sprintf(cluster, "edge-1"),
			cluster: "edge-1", in: "team",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := Parse("spec.yaml", []byte(tt.spec))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.ClusterAPI.Spec; got.ClusterName != tt.cluster || got.Namespace != tt.in {
				t.Errorf("Cluster %s/%s, want %s/%s", got.Namespace, got.ClusterName, tt.in, tt.cluster)
			}
			if s.IAM != nil || len(s.GroupBindings()) > 0 || len(s.Identities()) > 0 {
				t.Errorf("IAM = %+v, bindings %v: want neither", s.IAM, s.GroupBindings())
			}
		})
	}
}

func TestDockerDefaults(t *testing.T) {
	t.Parallel()
	spec := strings.ReplaceAll(onClusterAPI, v1alpha1.ClusterAPIDatacenterConfigKind, v1alpha1.DockerDatacenterConfigKind)
	spec = strings.Replace(spec, "spec:\n", "spec:\n  workerNodeGroupConfigurations: [{}]\n", 1)
	s, err := Parse("spec.yaml", []byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	got := s.Cluster.Spec
	want := v1alpha1.ClusterSpec{
		KubernetesVersion:             "1.36",
		ControlPlaneConfiguration:     v1alpha1.ControlPlaneConfiguration{Count: 1},
		WorkerNodeGroupConfigurations: []v1alpha1.WorkerNodeGroupConfiguration{{Name: "md-0", Count: &one}},
		ClusterNetwork: v1alpha1.ClusterNetwork{
			Pods:     v1alpha1.CIDRBlocks{CIDRBlocks: []string{"192.168.0.0/16"}},
			Services: v1alpha1.CIDRBlocks{CIDRBlocks: []string{"10.96.0.0/12"}},
		},
		DatacenterRef: v1alpha1.Ref{Kind: "DockerDatacenterConfig", Name: "edge"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.IAM != nil || len(s.GroupBindings()) > 0 {
		t.Errorf("IAM = %+v, bindings %v: want neither", s.IAM, s.GroupBindings())
	}
}

func TestGroupBindings(t *testing.T) {
	t.Parallel()
	bindings := []v1alpha1.GroupBinding{{Group: "edge:admins", ClusterRole: "cluster-admin"}}
	for _, file := range []string{"valid-clusterapi-files.yaml", "valid-docker-full.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseFiles("spec.yaml", data, readFixture)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bindings, s.GroupBindings()); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

// TestLoadFiles reads further files from where they are: beside the spec, or in
// the working directory if that comes from standard input.
func TestLoadFiles(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/valid-clusterapi-files.yaml")
	if err != nil {
		t.Fatal(err)
	}
	check := func(s *Spec, err error, dir string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range s.Objects {
			got = append(got, fmt.Sprintf("%s:%d: %s/%s", filepath.ToSlash(o.File), o.Line, o.Kind, o.Name))
		}
		want := []string{dir + "files/cluster.yaml:1: Cluster/edge-1", dir + "files/secret.yaml:1: Secret/edge-1-credentials"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	s, err := Load("testdata/valid-clusterapi-files.yaml", nil)
	check(s, err, "testdata/")

	here := strings.ReplaceAll(string(data), " files/", " testdata/files/")
	s, err = Load("-", strings.NewReader(here))
	check(s, err, "testdata/")

	_, err = Parse("spec.yaml", data)
	const want = "spec.files[0]: further files cannot be read here"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Parse = %v, want %q", err, want)
	}
}

func TestLoadFilesRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"large.yaml": strings.Repeat("#", MaxBytes+1), "many.yaml": strings.Repeat("---\na: b\n", maxDocuments+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "spec.yaml")
	spec := onClusterAPI + "spec:\n  files:\n  - large.yaml\n  - many.yaml\n  - ../" + filepath.Base(dir) + "\n  - missing.yaml\n  - ./spec.yaml\n"
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		filepath.Join(dir, "large.yaml") + ": larger than 4 MiB",
		filepath.Join(dir, "many.yaml") + ":401: more than 200 documents",
		"spec.yaml:15: ClusterAPIDatacenterConfig/edge: spec.files[2]: cannot read it: " + dir + " is a directory",
		"spec.yaml:16: ClusterAPIDatacenterConfig/edge: spec.files[3]: cannot read it: open " + filepath.Join(dir, "missing.yaml"),
		"spec.yaml:17: ClusterAPIDatacenterConfig/edge: spec.files[4]: is the spec file itself",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is\n%v\nand lacks %q", err, want)
		}
	}
}

func TestTooManyFiles(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(onClusterAPI + "spec:\n  files:\n")
	for i := range v1alpha1.MaxFiles + 10 {
		fmt.Fprintf(&b, "  - %d.yaml\n", i)
	}
	read := 0
	_, err := ParseFiles("spec.yaml", []byte(b.String()), func(path string) ([]byte, error) {
		read++
		return []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a" + strings.TrimSuffix(path, ".yaml") + "}\n"), nil
	})
	if err == nil || !strings.HasSuffix(err.Error(), "spec.files: names 60 files: at most 50 are read") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error = %v", err)
	}
	if read > v1alpha1.MaxFiles {
		t.Errorf("%d files were read", read)
	}
}

// FuzzParseFiles is FuzzParse for a file that a spec names: what is wrong with
// it is said with its name and a line that it has, and what is right comes out
// as it went in.
func FuzzParseFiles(f *testing.F) {
	files, err := filepath.Glob("testdata/files/*")
	if err != nil {
		f.Fatal(err)
	}
	files = append(files, "testdata/valid-clusterapi-objects.yaml", "testdata/invalid-clusterapi-objects.yaml", "testdata/invalid-clusterapi-variables.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("--- !!map {apiVersion: v1, kind: A, metadata: {name: a}}\n...\n"))
	f.Add([]byte("# a\r--- &a\rapiVersion: v1\rkind: A\rmetadata: {name: a}\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec := onClusterAPI + "spec: {files: [more.yaml]}\n"
		s, err := ParseFiles("dir/spec.yaml", []byte(spec), func(path string) ([]byte, error) {
			if filepath.ToSlash(path) != "dir/more.yaml" {
				t.Errorf("%s is read", path)
			}
			return data, nil
		})
		if err == nil {
			if len(s.Objects) == 0 {
				t.Fatal("no objects and no error")
			}
			if message := incomplete(s); message != "" {
				t.Fatal(message)
			}
			return
		}
		checkIssues(t, err, map[string]string{"dir/spec.yaml": spec, "dir/more.yaml": string(data)})
	})
}
