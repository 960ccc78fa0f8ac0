package install

import (
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/manifests"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestHolds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want, live string
		holds            bool
	}{
		{"the same", "a: {b: [1, x]}", "a: {b: [1, x]}", true},
		{"defaults", "a: {b: x}", "a: {b: x, c: y}\nstatus: {d: 1}", true},
		{"a changed field", "a: {b: x}", "a: {b: y}", false},
		{"a missing field", "a: {b: x}", "a: {}", false},
		{"a longer list", "rules: [{verbs: [get]}]", "rules: [{verbs: [get]}, {verbs: ['*']}]", false},
		{"a shorter list", "rules: [{verbs: [get]}]", "rules: []", false},
		{"a wider rule", "rules: [{verbs: [get], resourceNames: [x]}]", "rules: [{verbs: [get]}]", false},
		{"more data", "data: {a: x}", "data: {a: x, b: y}", false},
		{"data where none is wanted", "kind: ConfigMap", "kind: ConfigMap\ndata: {b: y}", false},
		{"other units", "a: {cpu: '0.5', memory: 1024Mi}", "a: {cpu: 500m, memory: 1Gi}", true},
		{"other amounts", "a: {cpu: '0.5'}", "a: {cpu: 600m}", false},
		{"a number for a quantity", "a: {cpu: 1}", "a: {cpu: '1'}", true},
		{"empty and none", "a: {value: '', on: false, list: [], map: {}}", "a: {}", true},
		{"empty and something", "a: {value: ''}", "a: {value: x}", false},
		{"another type", "a: {b: {c: d}}", "a: {b: [c]}", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := holds(parse(t, tt.live), parse(t, tt.want)); got != tt.holds {
				t.Errorf("holds: %v", got)
			}
		})
	}
}

func TestDecodeManifest(t *testing.T) {
	t.Parallel()
	objects, err := decode("---\n# Source: a\nkind: A\n---\n---\n# nothing\n---\nkind: B\n")
	if err != nil || len(objects) != 2 || objects[0].GetKind() != "A" || objects[1].GetKind() != "B" {
		t.Errorf("%v, %v", objects, err)
	}
	if _, err := decode("][\n"); err == nil {
		t.Error("no error for what is no YAML")
	}
}

func TestSameRelease(t *testing.T) {
	t.Parallel()
	load := func() ReleaseOptions {
		t.Helper()
		c, err := manifests.Chart()
		if err != nil {
			t.Fatal(err)
		}
		return ReleaseOptions{Chart: c, Values: map[string]any{"runAsUser": 1000, "clusterID": "a"}}
	}
	for _, tt := range []struct {
		name string
		edit func(*release.Release)
		same bool
	}{
		{"the same", func(*release.Release) {}, true},
		{"numbers as Helm reads them back", func(r *release.Release) { r.Config["runAsUser"] = float64(1000) }, true},
		{"other values", func(r *release.Release) { r.Config["clusterID"] = "b" }, false},
		{"another template", func(r *release.Release) { r.Chart.Templates[0].Data = []byte("changed") }, false},
		{"another default", func(r *release.Release) { r.Chart.Values["partition"] = "aws-cn" }, false},
		{"another version", func(r *release.Release) { r.Chart.Metadata.Version = "9.9.9" }, false},
		{"a failed one", func(r *release.Release) { r.Info.Status = release.StatusFailed }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			had := load()
			r := &release.Release{Info: &release.Info{Status: release.StatusDeployed}, Chart: had.Chart, Config: had.Values}
			tt.edit(r)
			same, err := sameRelease(r, load())
			if err != nil || same != tt.same {
				t.Errorf("same: %v, %v", same, err)
			}
		})
	}
}
