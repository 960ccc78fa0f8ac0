package install

import (
	"context"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
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
		resource, err := i.resource(want)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(want), err)
		}
		live, err := resource.Get(ctx, want.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			drifted = append(drifted, describe(want))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", describe(want), err)
		}
		same, err := holds(live, want)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", describe(want), err)
		}
		if !same {
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
		if err == io.EOF {
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

// holds tells whether live is as want says. Both are compared as typed objects,
// in which "0.5" and "500m" are the same quantity.
func holds(live, want *unstructured.Unstructured) (bool, error) {
	wantTyped, err := typed(want)
	if err != nil {
		return false, err
	}
	liveTyped, err := typed(live)
	if err != nil {
		return false, err
	}
	if !equality.Semantic.DeepDerivative(wantTyped, liveTyped) {
		return false, nil
	}
	// A derivative may have more than is wanted. Of rights and of data it must
	// not.
	switch want := wantTyped.(type) {
	case *corev1.ConfigMap:
		return equality.Semantic.DeepEqual(want.Data, liveTyped.(*corev1.ConfigMap).Data), nil
	case *corev1.Secret:
		return equality.Semantic.DeepEqual(want.Data, liveTyped.(*corev1.Secret).Data), nil
	case *rbacv1.ClusterRole:
		return equality.Semantic.DeepEqual(want.Rules, liveTyped.(*rbacv1.ClusterRole).Rules), nil
	case *rbacv1.ClusterRoleBinding:
		return equality.Semantic.DeepEqual(want.Subjects, liveTyped.(*rbacv1.ClusterRoleBinding).Subjects), nil
	}
	return true, nil
}

func typed(u *unstructured.Unstructured) (runtime.Object, error) {
	o, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
		return nil, err
	}
	return o, nil
}
