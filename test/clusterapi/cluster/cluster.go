// Package cluster looks at one workload cluster through its management cluster:
// it waits for what Cluster API makes of the objects, and reads what its
// machines were given. Tests decide what to expect.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/test/clusterapi/cloudinit"
	"github.com/capiam/capiam/test/clusterapi/management"
)

// Cluster is a workload cluster, whether it exists or not.
type Cluster struct {
	Management *management.Management
	Namespace  string
	Name       string
}

// Apply applies manifests to the management cluster by server-side apply, as a
// field manager of the tests' own. Objects without a namespace get the
// cluster's.
func (c *Cluster) Apply(ctx context.Context, manifests []byte) error {
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(object.Object) == 0 {
			continue // a comment
		}
		if object.GetNamespace() == "" {
			object.SetNamespace(c.Namespace)
		}
		what := object.GetKind() + " " + object.GetName()
		if err := c.Management.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s: %w", what, err)
		}
	}
}

// Get reads the Cluster object.
func (c *Cluster) Get(ctx context.Context) (*clusterv1.Cluster, error) {
	object := &clusterv1.Cluster{}
	return object, c.Management.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Name}, object)
}

// ControlPlane reads the KubeadmControlPlane that the Cluster refers to.
func (c *Cluster) ControlPlane(ctx context.Context) (*controlplanev1.KubeadmControlPlane, error) {
	object, err := c.Get(ctx)
	if err != nil {
		return nil, err
	}
	kcp := &controlplanev1.KubeadmControlPlane{}
	return kcp, c.Management.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: object.Spec.ControlPlaneRef.Name}, kcp)
}

// WaitAvailable waits until the Cluster is Available, and no control-plane
// machine is to be replaced or added any more.
func (c *Cluster) WaitAvailable(ctx context.Context) error {
	err := c.Management.Wait(ctx, func(ctx context.Context) error {
		object, err := c.Get(ctx)
		if err != nil {
			return err
		}
		if object.Status.ObservedGeneration != object.Generation || !meta.IsStatusConditionTrue(object.Status.Conditions, clusterv1.AvailableCondition) {
			return fmt.Errorf("not available; %s", unmet(object.Status.Conditions))
		}
		return c.rolledOut(ctx)
	})
	if err != nil {
		return fmt.Errorf("cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}

// WaitRolledOut waits until every control-plane machine is as the
// KubeadmControlPlane says, and available. Call it after the change was made.
func (c *Cluster) WaitRolledOut(ctx context.Context) error {
	if err := c.Management.Wait(ctx, c.rolledOut); err != nil {
		return fmt.Errorf("control plane of cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}

func (c *Cluster) rolledOut(ctx context.Context) error {
	kcp, err := c.ControlPlane(ctx)
	if err != nil {
		return err
	}
	want, status := value(kcp.Spec.Replicas), kcp.Status
	got := []int32{value(status.Replicas), value(status.UpToDateReplicas), value(status.AvailableReplicas)}
	if status.ObservedGeneration != kcp.Generation || slices.ContainsFunc(got, func(n int32) bool { return n != want }) {
		return fmt.Errorf("machines: %d of %d, %d up to date, %d available; %s", got[0], want, got[1], got[2], unmet(status.Conditions))
	}
	return nil
}

func value(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}

// unmet says what conditions complain about.
func unmet(conditions []metav1.Condition) string {
	var all []string
	for _, c := range conditions {
		// Some conditions are good when false, but then have little to say.
		if c.Status != metav1.ConditionTrue && c.Message != "" {
			all = append(all, fmt.Sprintf("%s is %s: %s", c.Type, c.Status, c.Message))
		}
	}
	return strings.Join(all, "; ")
}

// Machines are the cluster's machines, the oldest first. controlPlane chooses
// between those of the control plane and the workers.
func (c *Cluster) Machines(ctx context.Context, controlPlane bool) ([]clusterv1.Machine, error) {
	list := &clusterv1.MachineList{}
	if err := c.Management.Client.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: c.Name}); err != nil {
		return nil, err
	}
	machines := slices.DeleteFunc(list.Items, func(m clusterv1.Machine) bool {
		_, is := m.Labels[clusterv1.MachineControlPlaneLabel]
		return is != controlPlane
	})
	slices.SortFunc(machines, func(a, b clusterv1.Machine) int {
		if order := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	return machines, nil
}

// BootstrapData is the cloud-init that a machine was given. The data of a
// machine that has left is gone with it.
func (c *Cluster) BootstrapData(ctx context.Context, machine *clusterv1.Machine) (*cloudinit.Config, error) {
	name := machine.Spec.Bootstrap.DataSecretName
	if name == nil {
		return nil, fmt.Errorf("machine %s has no bootstrap data yet", machine.Name)
	}
	secret := &corev1.Secret{}
	if err := c.Management.Client.Get(ctx, client.ObjectKey{Namespace: machine.Namespace, Name: *name}, secret); err != nil {
		return nil, err
	}
	if format := string(secret.Data["format"]); format != "cloud-config" {
		return nil, fmt.Errorf("machine %s: bootstrap data in format %q", machine.Name, format)
	}
	config, err := cloudinit.Parse(secret.Data["value"])
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", machine.Name, err)
	}
	return config, nil
}

// WorkloadConfig is the administrator's way into the workload cluster, from the
// kubeconfig Secret.
func (c *Cluster) WorkloadConfig(ctx context.Context) (*rest.Config, error) {
	secret := &corev1.Secret{}
	if err := c.Management.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Name + "-kubeconfig"}, secret); err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["value"])
	if err != nil {
		return nil, fmt.Errorf("cluster %s/%s: kubeconfig: %w", c.Namespace, c.Name, err)
	}
	config.QPS = -1
	return config, nil
}

// Workload is a client of the workload cluster.
func (c *Cluster) Workload(ctx context.Context) (client.Client, error) {
	config, err := c.WorkloadConfig(ctx)
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{})
}

// KubeadmConfig is the ClusterConfiguration in the workload's ConfigMap
// kubeadm-config, from which machines that join take the control plane's flags.
// With in-memory infrastructure it is empty until the second machine joins.
func (c *Cluster) KubeadmConfig(ctx context.Context) (map[string]any, error) {
	workload, err := c.Workload(ctx)
	if err != nil {
		return nil, err
	}
	object := &corev1.ConfigMap{}
	if err := workload.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "kubeadm-config"}, object); err != nil {
		return nil, err
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte(object.Data["ClusterConfiguration"]), &config); err != nil {
		return nil, fmt.Errorf("cluster %s/%s: kubeadm-config: %w", c.Namespace, c.Name, err)
	}
	return config, nil
}

// Delete deletes the Cluster, and waits until nothing of it is left.
func (c *Cluster) Delete(ctx context.Context) error {
	object := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}
	err := client.IgnoreNotFound(c.Management.Client.Delete(ctx, object))
	if err == nil {
		err = c.Management.Wait(ctx, func(ctx context.Context) error {
			left, err := c.Left(ctx)
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("still there: %s", strings.Join(left, ", "))
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("delete cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}

// Left names what is there of the cluster: the Cluster, what it owns, and what
// bears its label, of Cluster API's kinds and Secrets.
func (c *Cluster) Left(ctx context.Context) ([]string, error) {
	kinds, err := c.kinds(ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, kind := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		if err := c.Management.Client.List(ctx, list, client.InNamespace(c.Namespace)); err != nil {
			return nil, err
		}
		for i := range list.Items {
			if item := &list.Items[i]; c.owns(kind, item) {
				left = append(left, kind.Kind+" "+item.Name)
			}
		}
	}
	return left, nil
}

func (c *Cluster) owns(kind schema.GroupVersionKind, object *metav1.PartialObjectMetadata) bool {
	if object.Labels[clusterv1.ClusterNameLabel] == c.Name || kind.Kind == "Cluster" && object.Name == c.Name {
		return true
	}
	return slices.ContainsFunc(object.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "Cluster" && o.Name == c.Name
	})
}

// kinds are the namespaced kinds of Cluster API, and Secret.
func (c *Cluster) kinds(ctx context.Context) ([]schema.GroupVersionKind, error) {
	crds := &apiextensionsv1.CustomResourceDefinitionList{}
	if err := c.Management.Client.List(ctx, crds, client.HasLabels{"cluster.x-k8s.io/provider"}); err != nil {
		return nil, err
	}
	kinds := []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Secret")}
	for _, crd := range crds.Items {
		if crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
			continue
		}
		for _, version := range crd.Spec.Versions {
			if version.Storage {
				kinds = append(kinds, schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind})
			}
		}
	}
	return kinds, nil
}
