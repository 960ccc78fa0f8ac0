package render

import (
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Chart renders a chart as "helm template" does, with no cluster to look
// things up in. Objects come in the order in which Helm installs them.
func Chart(c *chart.Chart, values map[string]any) ([]*unstructured.Unstructured, error) {
	fail := func(err error) ([]*unstructured.Unstructured, error) {
		return nil, fmt.Errorf("render chart %s: %w", c.Name(), err)
	}
	options := chartutil.ReleaseOptions{Name: ReleaseName, Namespace: Namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, options, chartutil.DefaultCapabilities.Copy())
	if err != nil {
		return fail(err)
	}
	rendered, err := engine.Render(c, all)
	if err != nil {
		return fail(err)
	}
	for name := range rendered {
		if strings.HasSuffix(path.Base(name), "NOTES.txt") {
			delete(rendered, name)
		}
	}
	hooks, sorted, err := releaseutil.SortManifests(rendered, nil, releaseutil.InstallOrder)
	if err != nil {
		return fail(err)
	}
	if len(hooks) > 0 {
		return fail(fmt.Errorf("%s is a hook, which only Helm itself can run", hooks[0].Path))
	}
	var objects []*unstructured.Unstructured
	for _, m := range sorted {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(m.Content), &u.Object); err != nil {
			return fail(fmt.Errorf("%s: %w", m.Name, err))
		}
		objects = append(objects, u)
	}
	return objects, nil
}
