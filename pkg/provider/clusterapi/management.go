package clusterapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	capikubeconfig "sigs.k8s.io/cluster-api/util/kubeconfig"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldManager is who the management cluster says wrote what this package wrote.
const FieldManager = "capiam"

// ManagedAnnotation says of Cluster API's Cluster that capiam has made it, and so
// may delete it.
const ManagedAnnotation = "capiam.dev/managed"

// ErrNotFound is returned when a management cluster has no such Cluster.
var ErrNotFound = errors.New("no such cluster")

// Access is how a management cluster is found.
type Access struct {
	// Kubeconfig is a file; kubectl's rules (KUBECONFIG, then ~/.kube/config)
	// apply if it is empty.
	Kubeconfig string
	// Context is the kubeconfig's current one if empty.
	Context string
}

// Management is a management cluster.
type Management struct {
	client.Client
	Config *rest.Config
	// Context is the kubeconfig's context it was found by.
	Context string
}

// Connect makes the clients for a management cluster. It does not connect yet.
func Connect(a Access) (*Management, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("management cluster: read the kubeconfig: %w", err)
	}
	if len(raw.Clusters) == 0 {
		return nil, errors.New("management cluster: no kubeconfig; name the management cluster's with --kubeconfig FILE")
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("management cluster: %w", err)
	}
	name := a.Context
	if name == "" {
		name = raw.CurrentContext
	}
	return New(cfg, name)
}

// New is a management cluster that is reached by cfg. The name is for messages.
func New(cfg *rest.Config, name string) (*Management, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "capiam"
	cfg.WarningHandler = rest.NoWarnings{}
	// One user at one terminal: the client's own rate limit would only slow
	// the command down.
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1.AddToScheme, controlplanev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("management cluster: %w", err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("management cluster %s: %w", cfg.Host, err)
	}
	return &Management{Client: c, Config: cfg, Context: name}, nil
}

// State is a cluster as the management cluster has it at a moment.
type State struct {
	Cluster *clusterv1.Cluster
	// ControlPlane is nil until it is there.
	ControlPlane *controlplanev1.KubeadmControlPlane
	// Machines are those of the control plane, by name.
	Machines []clusterv1.Machine
}

// Topology tells whether the Cluster is made from a ClusterClass.
func (s *State) Topology() bool { return s.Cluster.Spec.Topology.IsDefined() }

// Managed tells whether capiam has made the Cluster.
func (s *State) Managed() bool {
	_, ok := s.Cluster.Annotations[ManagedAnnotation]
	return ok
}

// State reads a cluster. It returns ErrNotFound if there is none.
func (m *Management) State(ctx context.Context, key types.NamespacedName) (*State, error) {
	s := &State{Cluster: &clusterv1.Cluster{}}
	err := m.Get(ctx, key, s.Cluster)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("Cluster %s: %w on the management cluster", key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read Cluster %s: %w", key, m.explain(err))
	}
	ref := s.Cluster.Spec.ControlPlaneRef
	if !ref.IsDefined() {
		return s, nil
	}
	if ref.Kind != "KubeadmControlPlane" {
		return nil, fmt.Errorf("Cluster %s: spec.controlPlaneRef: capiam can set up a KubeadmControlPlane alone, and this is a %s: switch the token webhook on there by hand, and use `capiam generate manifests` for the rest", key, ref.Kind)
	}
	kcp := &controlplanev1.KubeadmControlPlane{}
	name := types.NamespacedName{Namespace: key.Namespace, Name: ref.Name}
	err = m.Get(ctx, name, kcp)
	switch {
	case apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("read KubeadmControlPlane %s: %w", name, err)
	}
	s.ControlPlane = kcp
	var machines clusterv1.MachineList
	if err := m.List(ctx, &machines, client.InNamespace(key.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: key.Name},
		client.HasLabels{clusterv1.MachineControlPlaneLabel}); err != nil {
		return nil, fmt.Errorf("list the Machines of Cluster %s: %w", key, err)
	}
	s.Machines = machines.Items
	return s, nil
}

// explain says what to do where the cluster that was named manages none.
func (m *Management) explain(err error) error {
	if !meta.IsNoMatchError(err) {
		return err
	}
	return fmt.Errorf("%s serves no %s: install Cluster API 1.11 or later there (clusterctl init), or name the management cluster with --kubeconfig and --context", m.Context, clusterv1.GroupVersion)
}

// ApplyAll makes the objects be as they are given, by server-side apply. A field
// that another field manager keeps at another value is an error that names it.
func (m *Management) ApplyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, u := range objects {
		if err := m.apply(ctx, u.DeepCopy()); err != nil {
			return err
		}
	}
	return nil
}

// apply applies an object, and makes it what the management cluster has then.
func (m *Management) apply(ctx context.Context, u *unstructured.Unstructured, options ...client.ApplyOption) error {
	err := m.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), append(options, client.FieldOwner(FieldManager))...)
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("apply %s: another field manager keeps it otherwise; leave the objects out of the spec to have capiam change no more than logins need: %w", describe(u), err)
	case meta.IsNoMatchError(err):
		return noSuchKind(u, err)
	case err != nil:
		return fmt.Errorf("apply %s: %w", describe(u), err)
	}
	return nil
}

// ErrNotYet is returned for something that Cluster API makes once a cluster is
// far enough.
var ErrNotYet = errors.New("not there yet")

// AdminKubeconfig is the workload cluster's kubeconfig that Cluster API keeps.
func (m *Management) AdminKubeconfig(ctx context.Context, key types.NamespacedName) ([]byte, error) {
	data, err := capikubeconfig.FromSecret(ctx, m, key)
	if apierrors.IsNotFound(err) {
		err = ErrNotYet
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", key.Namespace, secret.Name(key.Name, secret.Kubeconfig), err)
	}
	return data, nil
}

// ClusterCA is the certificate that the workload cluster's API servers are
// trusted by.
func (m *Management) ClusterCA(ctx context.Context, key types.NamespacedName) ([]byte, error) {
	s, err := secret.GetFromNamespacedName(ctx, m, key, secret.ClusterCA)
	if apierrors.IsNotFound(err) {
		err = ErrNotYet
	}
	name := key.Namespace + "/" + secret.Name(key.Name, secret.ClusterCA)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	if len(s.Data[corev1.TLSCertKey]) == 0 {
		return nil, fmt.Errorf("secret %s: no %s", name, corev1.TLSCertKey)
	}
	return s.Data[corev1.TLSCertKey], nil
}

// describe names an object in messages.
func describe(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// Clusters returns the clusters for which IAM authentication is kept, of one
// namespace or, if that is empty, of all, sorted by namespace and name.
func (m *Management) Clusters(ctx context.Context, namespace string) ([]*State, error) {
	var list clusterv1.ClusterList
	if err := m.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list Clusters: %w", m.explain(err))
	}
	var states []*State
	for _, c := range list.Items {
		key := client.ObjectKeyFromObject(&c)
		_, err := m.FindKeys(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := m.State(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue // it has just gone
		}
		if err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b *State) int {
		return cmp.Or(strings.Compare(a.Cluster.Namespace, b.Cluster.Namespace), strings.Compare(a.Cluster.Name, b.Cluster.Name))
	})
	return states, nil
}
