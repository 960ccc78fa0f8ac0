package clusterapi

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/types"
)

var update = flag.Bool("update", false, "write the golden files")

// TestManifests patches whole files and takes the patch away again. The archives
// hold what comes in and what comes out; a disabled.yaml that is not there is
// in.yaml, to the byte.
func TestManifests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/manifests/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	webhook := webhookFor(t, "the CA")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := section(archive, "in.yaml")
			m := readManifests(t, in)
			if got := string(m.Encode()); got != in {
				t.Fatalf("untouched manifests are written otherwise: %s", cmp.Diff(in, got))
			}

			before, err := m.Inspect(webhook)
			if err != nil {
				t.Fatal(err)
			}
			changed, err := m.Enable(wiring(webhook))
			if err != nil {
				t.Fatal(err)
			}
			enabled := string(m.Encode())
			if want := before == NotEnabled || before == EnabledOtherwise; changed != want || changed != (enabled != in) {
				t.Errorf("%s: Enable says changed = %t", before, changed)
			}
			if e, err := m.Inspect(webhook); err != nil || e != Enabled && e != EnabledByEKSAnywhere {
				t.Errorf("after Enable: %s, %v", e, err)
			}
			if changed, err := m.Enable(wiring(webhook)); changed || err != nil {
				t.Errorf("the second Enable: changed = %t, %v", changed, err)
			}
			again := readManifests(t, enabled)
			if got := again.Objects(); !reflect.DeepEqual(got, m.Objects()) {
				t.Errorf("what is written is not what is applied: %s", cmp.Diff(m.Objects(), got))
			}

			if changed, err := m.Disable(); !changed || err != nil {
				t.Errorf("Disable: changed = %t, %v", changed, err)
			}
			disabled := string(m.Encode())
			if e, err := m.Inspect(webhook); err != nil || e != NotEnabled {
				t.Errorf("after Disable: %s, %v", e, err)
			}
			if changed, err := m.Disable(); changed || err != nil {
				t.Errorf("the second Disable: changed = %t, %v", changed, err)
			}

			if *update {
				archive.Files = archive.Files[:1]
				archive.Files = append(archive.Files, txtar.File{Name: "enabled.yaml", Data: []byte(enabled)})
				if disabled != in {
					archive.Files = append(archive.Files, txtar.File{Name: "disabled.yaml", Data: []byte(disabled)})
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(section(archive, "enabled.yaml"), enabled); d != "" {
				t.Errorf("enabled.yaml: -want +got\n%s", d)
			}
			want := section(archive, "disabled.yaml")
			if want == "" {
				want = in
			}
			if d := cmp.Diff(want, disabled); d != "" {
				t.Errorf("disabled.yaml: -want +got\n%s", d)
			}
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

const twoObjects = `apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata:
  name: edge
  namespace: metal
spec:
  controlPlaneRef:
    apiGroup: controlplane.cluster.x-k8s.io
    kind: KubeadmControlPlane
    name: cp
---
apiVersion: controlplane.cluster.x-k8s.io/v1beta2
kind: KubeadmControlPlane
metadata:
  name: cp
  namespace: metal
spec:
  replicas: 3
  version: v1.36.3
`

func TestFind(t *testing.T) {
	t.Parallel()
	m := readManifests(t, twoObjects)
	if got, want := m.Cluster(), (types.NamespacedName{Namespace: "metal", Name: "edge"}); got != want {
		t.Errorf("cluster %v, want %v", got, want)
	}
	want := ControlPlane{Kind: "KubeadmControlPlane", NamespacedName: types.NamespacedName{Namespace: "metal", Name: "cp"}, Version: "v1.36.3", Replicas: 3}
	if got := m.ControlPlane(); got != want {
		t.Errorf("control plane %+v, want %+v", got, want)
	}

	// Two clusters in one set of manifests, one of them asked for.
	other := strings.NewReplacer("name: edge", "name: other", "name: cp", "name: other-cp", "namespace: metal", "namespace: else").Replace(twoObjects)
	docs := documentsOf("cluster.yaml", twoObjects+"---\n"+other)
	for _, want := range []types.NamespacedName{{Name: "other"}, {Namespace: "else"}, {Namespace: "else", Name: "other"}} {
		m, err := ReadManifests(docs, want)
		if err != nil {
			t.Errorf("%v: %v", want, err)
			continue
		}
		if m.Cluster().Name != "other" || m.ControlPlane().Name != "other-cp" {
			t.Errorf("%v: %v, %+v", want, m.Cluster(), m.ControlPlane())
		}
	}

	// Objects that name no namespace are in the one that is asked for.
	m, err := ReadManifests(documentsOf("cluster.yaml", strings.ReplaceAll(twoObjects, "  namespace: metal\n", "")), types.NamespacedName{Namespace: "asked"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Cluster().Namespace != "asked" || m.ControlPlane().Namespace != "asked" {
		t.Errorf("%v, %+v", m.Cluster(), m.ControlPlane())
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(twoObjects) }
	for _, tt := range []struct {
		name, text string
		want       types.NamespacedName
		err        string
	}{
		{name: "no YAML", text: "a: [", err: "cluster.yaml:1: is not YAML: "},
		{name: "a list", text: "- a\n", err: "cluster.yaml:1: is not an object: it needs apiVersion and kind"},
		{name: "no kind", text: twoObjects + "---\n\nfoo: bar\n", err: "cluster.yaml:22: is not an object: it needs apiVersion and kind"},
		{name: "no name", text: twoObjects + "---\napiVersion: v1\nkind: Secret\n", err: "cluster.yaml:21: Secret: metadata.name: is missing"},
		{name: "a List", text: twoObjects + "---\napiVersion: v1\nkind: List\nitems: []\n", err: "cluster.yaml:21: List: is a list: write its items as documents of their own"},
		{name: "a key twice", text: "apiVersion: v1\nkind: Secret\nkind: Secret\n", err: `cluster.yaml:3: "kind" is there for the second time in one mapping: remove one`},
		{
			name: "no Cluster", text: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
			err: "cluster.yaml: has no object of kind Cluster in cluster.x-k8s.io: add the cluster's objects (clusterctl generate cluster NAME prints them)",
		},
		{
			name: "two Clusters", text: twoObjects + "---\n" + replace("name: edge", "name: other"),
			err: "cluster.yaml:21: Cluster/other: is the second Cluster: there are metal/edge (cluster.yaml:1), metal/other (cluster.yaml:21); name the cluster that capiam is to work on",
		},
		{
			name: "another Cluster", text: twoObjects, want: types.NamespacedName{Namespace: "else", Name: "edge"},
			err: "cluster.yaml: has no Cluster else/edge: it has metal/edge (cluster.yaml:1)",
		},
		{
			name: "an old version", text: replace("cluster.x-k8s.io/v1beta2\nkind: Cluster\n", "cluster.x-k8s.io/v1alpha4\nkind: Cluster\n"),
			err: `cluster.yaml:1: Cluster/edge: apiVersion: is "cluster.x-k8s.io/v1alpha4": capiam knows v1beta1 and v1beta2 of cluster.x-k8s.io`,
		},
		{
			name: "an old control plane", text: replace("controlplane.cluster.x-k8s.io/v1beta2", "controlplane.cluster.x-k8s.io/v1alpha4"),
			err: `cluster.yaml:12: KubeadmControlPlane/cp: apiVersion: is "controlplane.cluster.x-k8s.io/v1alpha4": capiam knows v1beta1 and v1beta2`,
		},
		{
			name: "no control plane", text: replace("controlPlaneRef", "paused"),
			err: "cluster.yaml:6: Cluster/edge: spec.controlPlaneRef: is missing, and so is spec.topology: capiam needs a control plane to patch, a KubeadmControlPlane",
		},
		{
			name: "another kind", text: replace("KubeadmControlPlane", "RKE2ControlPlane"),
			err: "cluster.yaml:9: Cluster/edge: spec.controlPlaneRef.kind: is RKE2ControlPlane of controlplane.cluster.x-k8s.io: capiam patches a KubeadmControlPlane of controlplane.cluster.x-k8s.io only. Give its API servers the flag --authentication-token-webhook-config-file by the means of its provider",
		},
		{
			name: "EKS", text: replace("KubeadmControlPlane", "AWSManagedControlPlane"),
			err: "cluster.yaml:9: Cluster/edge: spec.controlPlaneRef.kind: is AWSManagedControlPlane of controlplane.cluster.x-k8s.io: capiam patches a KubeadmControlPlane of controlplane.cluster.x-k8s.io only. EKS has AWS IAM logins built in",
		},
		{
			name: "another group", text: replace("apiGroup: controlplane.cluster.x-k8s.io", "apiGroup: controlplane.example.com"),
			err: "cluster.yaml:9: Cluster/edge: spec.controlPlaneRef.kind: is KubeadmControlPlane of controlplane.example.com",
		},
		{
			name: "a reference with no name", text: replace("    name: cp\n", ""),
			err: "cluster.yaml:7: Cluster/edge: spec.controlPlaneRef.name: is missing",
		},
		{
			name: "a reference to nowhere", text: replace("    name: cp\n", "    name: nowhere\n"),
			err: `cluster.yaml:10: Cluster/edge: spec.controlPlaneRef.name: is "nowhere", and no KubeadmControlPlane of that name in namespace "metal" is among the manifests: add it, or correct the name`,
		},
		{
			name: "a reference to another namespace", text: replace("  name: cp\n  namespace: metal\n", "  name: cp\n  namespace: else\n"),
			err: `cluster.yaml:10: Cluster/edge: spec.controlPlaneRef.name: is "cp", and no KubeadmControlPlane of that name in namespace "metal"`,
		},
		{
			name: "two control planes", text: twoObjects + twoObjects[strings.Index(twoObjects, "---"):],
			err: "cluster.yaml:21: KubeadmControlPlane/cp: is there twice, at cluster.yaml:12 too: remove one",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadManifests(documentsOf("cluster.yaml", tt.text), tt.want)
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("got  %v\nwant %s", err, tt.err)
			}
		})
	}
}

// TestConflictLine checks that a problem of a patch says where it is written.
func TestConflictLine(t *testing.T) {
	t.Parallel()
	m := readManifests(t, twoObjects+`  kubeadmConfigSpec:
    clusterConfiguration:
      apiServer:
        extraArgs:
        - name: v
          value: "4"
        - name: authentication-token-webhook-config-file
          value: /etc/kubernetes/dex.yaml
`)
	const want = `cluster.yaml:27: KubeadmControlPlane/cp: spec.kubeadmConfigSpec.clusterConfiguration.apiServer.extraArgs[1].value: is "/etc/kubernetes/dex.yaml" already: `
	webhook := webhookFor(t, "the CA")
	if _, err := m.Enable(wiring(webhook)); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Enable: %v", err)
	}
	if _, err := m.Inspect(webhook); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Inspect: %v", err)
	}
	if changed, err := m.Disable(); changed || err != nil {
		t.Errorf("Disable: changed = %t, %v", changed, err)
	}
}

// TestEncode checks what stands between documents.
func TestEncode(t *testing.T) {
	t.Parallel()
	parts := strings.SplitAfter(twoObjects, "---\n")
	cluster, kcp := strings.TrimSuffix(parts[0], "---\n"), parts[1]
	for _, tt := range []struct {
		name string
		docs []string
		want string
	}{
		{"files that start without dashes", []string{cluster, kcp}, cluster + "---\n" + kcp},
		{"no newline at the end", []string{strings.TrimSpace(cluster), "# c\n--- # d\n" + kcp}, cluster + "# c\n--- # d\n" + kcp},
		{"comments before", []string{"# a\n\n" + cluster, "# b\n" + kcp}, "# a\n\n" + cluster + "---\n# b\n" + kcp},
		{"only comments", []string{cluster, "# nothing\n", "---\n" + kcp}, cluster + "# nothing\n---\n" + kcp},
		{"dots", []string{cluster + "...\n", kcp + "...\n# end\n"}, cluster + "...\n" + kcp + "...\n# end\n"},
		{"several in one", []string{"# a\n---\n" + cluster + "---\n# b\n--- # c\n" + kcp + "---\n"}, "# a\n---\n" + cluster + "---\n# b\n--- # c\n" + kcp + "---\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var docs []Document
			for i, text := range tt.docs {
				docs = append(docs, Document{File: fmt.Sprintf("%d.yaml", i), Line: 1, Text: []byte(text)})
			}
			m, err := ReadManifests(docs, types.NamespacedName{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, string(m.Encode())); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			webhook := webhookFor(t, "the CA")
			if changed, err := m.Enable(wiring(webhook)); !changed || err != nil {
				t.Fatalf("Enable: changed = %t, %v", changed, err)
			}
			again := readManifests(t, string(m.Encode()))
			if e, err := again.Inspect(webhook); e != Enabled || err != nil {
				t.Errorf("what was written reads as %s, %v:\n%s", e, err, m.Encode())
			}
			if changed, err := m.Disable(); !changed || err != nil {
				t.Fatalf("Disable: changed = %t, %v", changed, err)
			}
			if d := cmp.Diff(tt.want, string(m.Encode())); d != "" {
				t.Errorf("after Disable: -want +got\n%s", d)
			}
		})
	}
}

func TestCRLF(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(twoObjects, "\n", "\r\n")
	m := readManifests(t, text)
	webhook := webhookFor(t, "the CA")
	if changed, err := m.Enable(wiring(webhook)); !changed || err != nil {
		t.Fatalf("Enable: changed = %t, %v", changed, err)
	}
	enabled := string(m.Encode())
	if strings.Count(enabled, "\n") != strings.Count(enabled, "\r\n") {
		t.Errorf("mixed line ends: %q", enabled)
	}
	if e, err := readManifests(t, enabled).Inspect(webhook); e != Enabled || err != nil {
		t.Errorf("%s, %v", e, err)
	}
	if _, err := m.Disable(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(text, string(m.Encode())); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	m := readManifests(t, twoObjects+`---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: DockerMachineTemplate
metadata: {name: t}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
---
# nothing
---
apiVersion: v1
kind: Namespace
metadata: {name: metal}
`)
	var kinds []string
	for _, u := range m.Objects() {
		kinds = append(kinds, u.GetKind())
	}
	if d := cmp.Diff([]string{"Namespace", "Secret", "DockerMachineTemplate", "Cluster", "KubeadmControlPlane"}, kinds); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	m.Objects()[0].SetName("changed")
	if m.Objects()[0].GetName() != "metal" {
		t.Error("the objects are not copies")
	}
}

// FuzzManifests checks that no text makes the reader panic, and that what it
// takes is patched once, wholly, and back.
func FuzzManifests(f *testing.F) {
	f.Add(twoObjects)
	files, _ := filepath.Glob("testdata/manifests/*.txtar")
	for _, file := range files {
		if archive, err := txtar.ParseFile(file); err == nil {
			for _, s := range archive.Files {
				f.Add(string(s.Data))
			}
		}
	}
	webhook := webhookFor(f, "the CA")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadManifests(documentsOf("cluster.yaml", text), types.NamespacedName{})
		if err != nil {
			return
		}
		before := m.Objects()
		was, err := m.Inspect(webhook)
		if err != nil {
			return
		}
		changed, err := m.Enable(wiring(webhook))
		if err != nil {
			t.Fatalf("%v", err)
		}
		if changed != (was == NotEnabled || was == EnabledOtherwise) {
			t.Fatalf("%s: changed = %t", was, changed)
		}
		again, err := ReadManifests(documentsOf("cluster.yaml", string(m.Encode())), types.NamespacedName{})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, m.Encode())
		}
		if !reflect.DeepEqual(again.Objects(), m.Objects()) {
			t.Fatalf("what was written is something else: %s", cmp.Diff(m.Objects(), again.Objects()))
		}
		if changed, err := m.Enable(wiring(webhook)); changed || err != nil {
			t.Fatalf("the second Enable: changed = %t, %v", changed, err)
		}
		if _, err := m.Disable(); err != nil {
			t.Fatalf("Disable: %v", err)
		}
		for i, u := range m.Objects() {
			if err := sameBesides(before[i], u); err != nil {
				t.Fatalf("%v: %s", err, cmp.Diff(before[i], u))
			}
		}
	})
}
