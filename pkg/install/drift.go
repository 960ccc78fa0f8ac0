package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// drift names the objects of a release that are missing or not as it has them.
// What the release leaves to the API server's defaults is not looked at.
func (i *Installer) drift(ctx context.Context, r *release.Release) ([]string, error) {
	objects, err := decode(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest of revision %d: %w", r.Version, err)
	}
	var drifted []string
	for _, want := range objects {
		client, err := i.resource(want)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(want), err)
		}
		live, err := client.Get(ctx, want.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			drifted = append(drifted, describe(want))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", describe(want), err)
		}
		if !holds(live, want) {
			drifted = append(drifted, describe(want))
		}
	}
	return drifted, nil
}

// decode reads the objects of a release's manifest.
func decode(manifest string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
}

// holds tells whether live is as want says. It may have more fields, which the
// API server's defaults and other controllers set, but not more data or longer
// lists: a hand-made rule in a role is a change.
func holds(live, want *unstructured.Unstructured) bool {
	for _, field := range []string{"data", "binaryData"} {
		wantMap, _ := want.Object[field].(map[string]any)
		liveMap, _ := live.Object[field].(map[string]any)
		if len(wantMap) != len(liveMap) {
			return false
		}
	}
	return contains(live.Object, want.Object)
}

// contains tells whether every field of want is in live with the same value.
func contains(live, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		live, ok := live.(map[string]any)
		if !ok {
			return len(want) == 0
		}
		for key, w := range want {
			if !contains(live[key], w) {
				return false
			}
		}
		return true
	case []any:
		live, ok := live.([]any)
		if !ok {
			return len(want) == 0
		}
		return slices.EqualFunc(live, want, contains)
	case nil:
		return live == nil
	}
	// An empty string is the same as none, as in "value" of a toleration.
	if want == "" && live == nil || want == false && live == nil {
		return true
	}
	return want == live || sameQuantity(want, live)
}

// sameQuantity tells whether two amounts are the same in other units: the API
// server writes "0.5" as "500m".
func sameQuantity(a, b any) bool {
	if a == nil || b == nil {
		return false
	}
	x, err := resource.ParseQuantity(fmt.Sprint(a))
	if err != nil {
		return false
	}
	y, err := resource.ParseQuantity(fmt.Sprint(b))
	return err == nil && x.Cmp(y) == 0
}
