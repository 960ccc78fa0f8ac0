package install

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Apply makes each object be as it is given, by server-side apply. Fields that
// the objects do not mention are left alone; one that another field manager
// keeps at another value is an error that names it.
func (i *Installer) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, u := range objects {
		if err := i.apply(ctx, u, metav1.ApplyOptions{FieldManager: FieldManager}); err != nil {
			return err
		}
	}
	return nil
}

// DryRun asks the API server whether it would take the objects, without writing
// anything. There is an error for each that it would not take. Fields that its
// schema does not know are refused too.
func (i *Installer) DryRun(ctx context.Context, objects []*unstructured.Unstructured) []error {
	var errs []error
	for _, u := range objects {
		// Whoever keeps a field now is not the question.
		o := metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: []string{metav1.DryRunAll}}
		if err := i.apply(ctx, u, o); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (i *Installer) apply(ctx context.Context, u *unstructured.Unstructured, o metav1.ApplyOptions) error {
	resource, err := i.resource(u)
	if err == nil {
		_, err = resource.Apply(ctx, u.GetName(), u, o)
	}
	if apierrors.IsConflict(err) {
		return fmt.Errorf("apply %s as %s: another field manager keeps it otherwise: %w", describe(u), o.FieldManager, err)
	}
	if err != nil {
		return fmt.Errorf("apply %s as %s: %w", describe(u), o.FieldManager, err)
	}
	return nil
}

// EnsureCRDs applies CustomResourceDefinitions and waits until the API server
// serves them.
func (i *Installer) EnsureCRDs(ctx context.Context, crds []*unstructured.Unstructured) error {
	if err := i.Apply(ctx, crds...); err != nil {
		return err
	}
	for _, crd := range crds {
		err := i.waitEstablished(ctx, crd)
		if err == nil {
			err = i.waitDiscovered(ctx, crd)
		}
		if err != nil {
			return fmt.Errorf("wait until %s is served: %w", describe(crd), err)
		}
	}
	return nil
}

// waitDiscovered waits until the API server's discovery names the kind, which
// may be some moments after it serves it.
func (i *Installer) waitDiscovered(ctx context.Context, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var versions []string
	for _, item := range list {
		if version, ok := item.(map[string]any); ok && version["served"] == true {
			name, _ := version["name"].(string)
			versions = append(versions, name)
		}
	}
	for {
		_, err := i.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind}, versions...)
		if !meta.IsNoMatchError(err) {
			return err
		}
		if err := sleep(ctx, min(i.poll, establishedPoll)); err != nil {
			return err
		}
		i.mapper.Reset()
	}
}

func (i *Installer) waitEstablished(ctx context.Context, crd *unstructured.Unstructured) error {
	resource, err := i.resource(crd)
	if err != nil {
		return err
	}
	for {
		live, err := resource.Get(ctx, crd.GetName(), metav1.GetOptions{})
		if err != nil && (apierrors.IsNotFound(err) || !transient(err)) {
			return err
		}
		if err == nil {
			if status, _ := condition(live, "Established"); status == "True" {
				return nil
			}
			if status, message := condition(live, "NamesAccepted"); status == "False" {
				return fmt.Errorf("its names are not accepted: %s", message)
			}
		}
		// The API server does this by itself and within moments.
		if err := sleep(ctx, min(i.poll, establishedPoll)); err != nil {
			return err
		}
	}
}

// establishedPoll is how often a new CustomResourceDefinition is looked at.
const establishedPoll = 20 * time.Millisecond

// condition is the status and message of a condition of an object.
func condition(u *unstructured.Unstructured, kind string) (status, message string) {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok || c["type"] != kind {
			continue
		}
		status, _ = c["status"].(string)
		message, _ = c["message"].(string)
	}
	return status, message
}
