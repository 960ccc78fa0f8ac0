package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// target returns the object of a live cluster that says how its API servers run,
// and the class it is made from, if it is.
func (m *Management) target(ctx context.Context, s *State) (*unstructured.Unstructured, *Class, error) {
	cluster, err := m.read(ctx, clusterKind, client.ObjectKeyFromObject(s.Cluster))
	if err != nil {
		return nil, nil, err
	}
	if ref, ok := ClassRef(cluster); ok {
		class, err := m.Class(ctx, ref)
		if err == nil && s.ControlPlane != nil {
			class.ControlPlane, err = m.read(ctx, kubeadmControlPlane, client.ObjectKeyFromObject(s.ControlPlane))
		}
		return cluster, class, err
	}
	ref, err := ControlPlaneRef(cluster)
	if err != nil {
		return nil, nil, err
	}
	u, err := m.read(ctx, kubeadmControlPlane, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
	return u, nil, err
}

// Class reads a ClusterClass and what it makes control planes from.
func (m *Management) Class(ctx context.Context, ref Reference) (*Class, error) {
	object, err := m.read(ctx, clusterClassKind, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
	if err != nil {
		return nil, err
	}
	class := &Class{ClusterClass: object}
	template := ControlPlaneTemplateRef(object)
	if template.Name == "" {
		return class, nil
	}
	class.ControlPlaneTemplate, err = m.read(ctx, kubeadmControlPlaneTemplate, types.NamespacedName{Namespace: template.Namespace, Name: template.Name})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		err = nil // then it holds nothing
	}
	return class, err
}

// read reads an object as it is, so that nothing is lost when it is written. It
// is of the version that management clusters have to serve.
func (m *Management) read(ctx context.Context, kind schema.GroupKind, key types.NamespacedName) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind.WithVersion(version))
	if err := m.Get(ctx, key, u); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind.Kind, key, err)
	}
	return u, nil
}

// version is the one that is read and written: Cluster API v1.11 and later have
// it.
const version = "v1beta2"

// Setup says how far a live cluster's API servers are set up to ask the
// authenticator as webhook, a kubeconfig, says.
func (m *Management) Setup(ctx context.Context, s *State, webhook []byte) (Setup, error) {
	u, class, err := m.target(ctx, s)
	if err != nil {
		return Setup{}, err
	}
	return inspectSetup(u, class, webhook)
}

// SwitchOn has a live cluster's API servers ask the authenticator. Before it
// changes anything, it asks allow, if that is not nil. It reports whether it
// changed something.
func (m *Management) SwitchOn(ctx context.Context, s *State, w Wiring, allow func() error) (bool, error) {
	return m.edit(ctx, s, allow, func(u *unstructured.Unstructured, class *Class) (bool, error) {
		return Enable(u, class, w)
	})
}

// SwitchOff has a live cluster's API servers ask no authenticator any more. It
// reports whether it changed something.
func (m *Management) SwitchOff(ctx context.Context, s *State) (bool, error) {
	return m.edit(ctx, s, nil, Disable)
}

// edit changes a live cluster's object. Where somebody else writes at the same
// time, it looks again.
func (m *Management) edit(ctx context.Context, s *State, allow func() error, change func(*unstructured.Unstructured, *Class) (bool, error)) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		u, class, err := m.target(ctx, s)
		if err != nil {
			return err
		}
		if changed, err = change(u, class); err != nil || !changed {
			return err
		}
		if allow != nil {
			if err := allow(); err != nil {
				return err
			}
		}
		if err := m.Update(ctx, u, client.FieldOwner(FieldManager)); err != nil {
			return fmt.Errorf("write %s: %w", describe(u), err)
		}
		return nil
	})
	return changed && err == nil, err
}

// Complete gives objects that name no namespace the cluster's, if they are of a
// kind that is in one.
func (m *Management) Complete(objects []*unstructured.Unstructured, namespace string) error {
	for _, u := range objects {
		if u.GetNamespace() != "" {
			continue
		}
		namespaced, err := m.IsObjectNamespaced(u)
		if meta.IsNoMatchError(err) {
			return noSuchKind(u, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", describe(u), err)
		}
		if namespaced {
			u.SetNamespace(namespace)
		}
	}
	return nil
}

func noSuchKind(u *unstructured.Unstructured, err error) error {
	return fmt.Errorf("%s: the management cluster has no such kind: install the provider that brings it (clusterctl init): %w", describe(u), err)
}

// PlanAll says what ApplyAll would make and change, and writes nothing. It also
// tells whether that would replace control-plane machines.
func (m *Management) PlanAll(ctx context.Context, objects []*unstructured.Unstructured) (lines []string, rolls bool, err error) {
	for _, u := range objects {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(u.GroupVersionKind())
		err := m.Get(ctx, client.ObjectKeyFromObject(u), live)
		if apierrors.IsNotFound(err) {
			lines = append(lines, "+ "+describe(u))
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("read %s: %w", describe(u), err)
		}
		after := u.DeepCopy()
		if err := m.apply(ctx, after, client.DryRunAll); err != nil {
			return nil, false, err
		}
		if same(live, after) {
			continue
		}
		lines = append(lines, "~ "+describe(u))
		rolls = rolls || rollsMachines(live, after)
	}
	return lines, rolls, nil
}

// same tells whether applying would leave an object as it is.
func same(a, b *unstructured.Unstructured) bool {
	strip := func(u *unstructured.Unstructured) map[string]any {
		o := maps.Clone(u.Object)
		delete(o, "status")
		delete(o, "metadata")
		return o
	}
	return equality.Semantic.DeepEqual(strip(a), strip(b)) &&
		maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations())
}

// rollsMachines tells whether the change of an object makes Cluster API replace
// control-plane machines: of a KubeadmControlPlane everything but its size and
// the way of replacing, of a Cluster its topology's version and variables.
func rollsMachines(before, after *unstructured.Unstructured) bool {
	var fields [][]string
	switch after.GetKind() {
	case "KubeadmControlPlane":
		fields = [][]string{{"spec", "kubeadmConfigSpec"}, {"spec", "version"}, {"spec", "machineTemplate"}}
	case "Cluster":
		fields = [][]string{{"spec", "topology", "version"}, {"spec", "topology", "variables"}, {"spec", "topology", "controlPlane"}}
	}
	for _, path := range fields {
		a, _, _ := unstructured.NestedFieldNoCopy(before.Object, path...)
		b, _, _ := unstructured.NestedFieldNoCopy(after.Object, path...)
		if !equality.Semantic.DeepEqual(a, b) {
			return true
		}
	}
	return false
}

// DeleteCluster has Cluster API delete a cluster. It does not wait; Await does.
func (m *Management) DeleteCluster(ctx context.Context, key types.NamespacedName) error {
	s, err := m.State(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := client.IgnoreNotFound(m.Delete(ctx, s.Cluster)); err != nil {
		return fmt.Errorf("delete Cluster %s: %w", key, err)
	}
	return nil
}

// WouldSwitchOff tells whether SwitchOff would change something.
func (m *Management) WouldSwitchOff(ctx context.Context, s *State) (bool, error) {
	u, class, err := m.target(ctx, s)
	if err != nil {
		return false, err
	}
	return Disable(u, class)
}

// IsCluster tells whether an object is Cluster API's Cluster.
func IsCluster(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().GroupKind() == clusterKind
}
