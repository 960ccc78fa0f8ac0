package render

import (
	"strings"
	"testing"

	"github.com/capiam/capiam/manifests"
)

// TestValuesByHand renders the chart with values that capiam itself does not
// set.
func TestValuesByHand(t *testing.T) {
	t.Parallel()
	values := func() map[string]any {
		return map[string]any{
			"image": "example.com/a:v1", "clusterID": "id", "region": "eu-west-1",
			"tls": map[string]any{"existingSecret": "mine"},
		}
	}
	for _, tt := range []struct {
		name string
		edit func(map[string]any)
		want string // part of the error; empty: it renders
	}{
		{"an existing secret", func(map[string]any) {}, ""},
		{"other ports", func(v map[string]any) {
			v["config"] = map[string]any{"server": map[string]any{"port": 31362, "healthPort": 31363}}
		}, ""},
		{"more to mount", func(v map[string]any) {
			v["extraVolumes"] = []any{map[string]any{"name": "ca", "configMap": map[string]any{"name": "ca"}}}
			v["extraVolumeMounts"] = []any{map[string]any{"name": "ca", "mountPath": "/ca"}}
			v["extraEnv"] = []any{map[string]any{"name": "SSL_CERT_DIR", "value": "/ca"}}
			v["imagePullSecrets"] = []any{"registry"}
			v["podAnnotations"] = map[string]any{"example.com/on": "true"}
		}, ""},
		{"another directory of the node", func(v map[string]any) { v["snapshot"] = map[string]any{"hostPath": "/data/.my_dir/a-b.c"} }, ""},
		{"a directory that depends", func(v map[string]any) { v["snapshot"] = map[string]any{"hostPath": "var/lib/x"} }, "hostPath"},
		{"a directory by detours", func(v map[string]any) { v["snapshot"] = map[string]any{"hostPath": "/var/lib/../x"} }, "hostPath"},
		{"all of the node", func(v map[string]any) { v["snapshot"] = map[string]any{"hostPath": "/"} }, "hostPath"},
		{"no certificate", func(v map[string]any) { v["tls"] = map[string]any{} }, "tls.cert is required"},
		{"no image", func(v map[string]any) { delete(v, "image") }, "image is required"},
		{"no cluster ID", func(v map[string]any) { delete(v, "clusterID") }, "clusterID is required"},
		{"no region", func(v map[string]any) { delete(v, "region") }, "region is required"},
		{"root", func(v map[string]any) { v["runAsUser"] = 0 }, "runAsUser"},
		{"a misspelt value", func(v map[string]any) { v["clusterId"] = "id" }, "clusterId"},
		{"an unknown backend", func(v map[string]any) { v["backendModes"] = []any{"ConfigMap"} }, "backendModes"},
		{"a number for an annotation", func(v map[string]any) { v["podAnnotations"] = map[string]any{"a": 1} }, "podAnnotations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			chart, err := manifests.Chart()
			if err != nil {
				t.Fatal(err)
			}
			v := values()
			tt.edit(v)
			objects, err := Chart(chart, v)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range objects {
				checkTyped(t, u)
				if u.GetKind() == "Secret" {
					t.Error("a Secret beside the existing one")
				}
			}
		})
	}
}
