package clusterapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/pki"
)

const (
	// SecretNamespace is where EKS Anywhere keeps what belongs to its clusters,
	// and its Clusters themselves.
	SecretNamespace = "eksa-system"

	// ClusterIDAnnotation is the name tokens are made for, on the CA's Secret.
	ClusterIDAnnotation = "capiam.dev/cluster-id"
	// ClusterAnnotation is namespace/name of Cluster API's Cluster that a Secret
	// belongs to: its own name does not say the namespace.
	ClusterAnnotation = "capiam.dev/cluster"
	// SpecNameAnnotation is the name of the spec's Cluster, on the CA's Secret.
	SpecNameAnnotation = "capiam.dev/spec-name"

	caCertKey, caKeyKey = "cert.pem", "key.pem"
	kubeconfigKey       = "value"
)

// CASecretName is the name of the Secret with the authenticator's CA.
func CASecretName(cluster string) string { return cluster + "-aws-iam-authenticator-ca" }

// KubeconfigSecretName is the name of the Secret with the users' kubeconfig.
func KubeconfigSecretName(cluster string) string { return cluster + "-aws-iam-kubeconfig" }

// BootstrapSecretName is the name of the Secret with the static pod.
func BootstrapSecretName(cluster string) string { return cluster + "-aws-iam-authenticator-bootstrap" }

// Keys are what a cluster's IAM authentication keeps for as long as it lives.
type Keys struct {
	// ClusterID is the name tokens are made for.
	ClusterID string
	// CA signs the authenticator's certificate.
	CA *pki.CA
	// SpecName is the name of the spec's Cluster, after which files are named;
	// empty if it is not known.
	SpecName string

	// guessed says that the cluster ID was found in the users' kubeconfig
	// alone, which EKS Anywhere does not always write again.
	guessed bool
}

// KeysOptions say how to make keys that are not there.
type KeysOptions struct {
	// ClusterID is the spec's; empty for the cluster's own.
	ClusterID string
	// SpecName is the name of the spec's Cluster.
	SpecName string
	// DryRun makes keys up without writing them.
	DryRun bool
	// Made are keys that a dry run has made up, to take where there are still
	// none; nil to make others.
	Made *Keys
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// secretNamespaces are where a cluster's Secrets are: where EKS Anywhere's users
// look for them and, as `clusterctl move` takes one namespace along, beside the
// Cluster.
func secretNamespaces(cluster types.NamespacedName) []string {
	if cluster.Namespace == SecretNamespace {
		return []string{SecretNamespace}
	}
	return []string{SecretNamespace, cluster.Namespace}
}

// keptSecret is a Secret that is kept for a cluster, and where.
type keptSecret struct {
	name       string
	namespaces []string
}

// keptSecrets are all of a cluster's, in the order in which they may go: the CA
// last, as FindKeys knows by it that there is something to remove.
func keptSecrets(cluster types.NamespacedName) []keptSecret {
	both := secretNamespaces(cluster)
	return []keptSecret{
		{BootstrapSecretName(cluster.Name), []string{cluster.Namespace}}, // where the control plane is
		{KubeconfigSecretName(cluster.Name), both},
		{CASecretName(cluster.Name), both},
	}
}

// EnsureKeys returns a cluster's keys. Those that are there, EKS Anywhere's too,
// are adopted and never replaced; what is missing is made. If known is not
// empty, it is the ID that the workload cluster itself goes by.
func (m *Management) EnsureKeys(ctx context.Context, cluster types.NamespacedName, o KeysOptions, known string) (*Keys, error) {
	k, err := m.findKeys(ctx, cluster)
	if err != nil {
		return nil, err
	}
	ids := []struct{ id, from string }{
		{o.ClusterID, "spec.clusterID of the AWSIamConfig"},
		{k.ClusterID, "the management cluster"},
		{known, "the workload cluster"},
	}
	if k.guessed && known != "" {
		ids[1].id = ""
	}
	k.ClusterID = ""
	from := ""
	for _, c := range ids {
		switch {
		case c.id == "":
		case k.ClusterID == "":
			k.ClusterID, from = c.id, c.from
		case k.ClusterID != c.id:
			return nil, fmt.Errorf("Cluster %s: its cluster ID is %q in %s and %q in %s: a cluster keeps its ID, as users' kubeconfigs hold it; write %q into spec.clusterID",
				cluster, k.ClusterID, from, c.id, c.from, c.id)
		}
	}
	if k.ClusterID == "" && o.Made != nil {
		k.ClusterID = o.Made.ClusterID
	}
	if k.ClusterID == "" {
		k.ClusterID = uuid.NewString()
	}
	if k.CA == nil && o.Made != nil {
		k.CA = o.Made.CA
	}
	if k.CA == nil {
		if k.CA, err = pki.NewCA(pki.CAOptions{CommonName: cluster.Name + "-aws-iam-authenticator", Now: o.Now}); err != nil {
			return nil, err
		}
	}
	k.CA = k.CA.WithClock(o.Now)
	if o.DryRun {
		return k, nil
	}
	return k, m.ensureSecret(ctx, cluster, CASecretName(cluster.Name),
		map[string][]byte{caCertKey: k.CA.CertPEM, caKeyKey: k.CA.KeyPEM},
		map[string]string{ClusterIDAnnotation: k.ClusterID, SpecNameAnnotation: o.SpecName})
}

// FindKeys returns the keys a cluster has. ErrNotFound says that it has none.
func (m *Management) FindKeys(ctx context.Context, cluster types.NamespacedName) (*Keys, error) {
	k, err := m.findKeys(ctx, cluster)
	if err == nil && k.CA == nil {
		return nil, fmt.Errorf("secret %s/%s: %w", SecretNamespace, CASecretName(cluster.Name), ErrNotFound)
	}
	return k, err
}

// findKeys leaves empty what is not there.
func (m *Management) findKeys(ctx context.Context, cluster types.NamespacedName) (*Keys, error) {
	k := &Keys{}
	for _, namespace := range secretNamespaces(cluster) {
		s, err := m.secret(ctx, cluster, types.NamespacedName{Namespace: namespace, Name: CASecretName(cluster.Name)})
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		name := namespace + "/" + s.Name
		ca, err := pki.LoadCA(s.Data[caCertKey], s.Data[caKeyKey])
		if err != nil {
			return nil, fmt.Errorf("secret %s: keys %s and %s: %w; put the CA back that the API servers trust, or switch IAM authentication off and on again", name, caCertKey, caKeyKey, err)
		}
		if k.CA != nil && !bytes.Equal(k.CA.Cert.Raw, ca.Cert.Raw) {
			return nil, fmt.Errorf("the Secrets %s of the namespaces %s and %s hold different CAs: delete the one that the API servers do not trust", s.Name, SecretNamespace, cluster.Namespace)
		}
		k.CA = ca
		if id := s.Annotations[ClusterIDAnnotation]; id != "" {
			k.ClusterID = id
		}
		if specName := s.Annotations[SpecNameAnnotation]; specName != "" {
			k.SpecName = specName
		}
	}
	if k.ClusterID == "" {
		// EKS Anywhere writes it into the users' kubeconfig alone.
		for _, namespace := range secretNamespaces(cluster) {
			s, err := m.secret(ctx, cluster, types.NamespacedName{Namespace: namespace, Name: KubeconfigSecretName(cluster.Name)})
			if err != nil {
				return nil, err
			}
			if s != nil && k.ClusterID == "" {
				k.ClusterID = clusterIDOf(s.Data[kubeconfigKey])
				k.guessed = k.ClusterID != ""
			}
		}
	}
	return k, nil
}

// clusterIDOf finds the cluster ID that a users' kubeconfig asks tokens for.
func clusterIDOf(kubeconfig []byte) string {
	cfg, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return ""
	}
	for _, user := range cfg.AuthInfos {
		if user.Exec == nil {
			continue
		}
		for _, flag := range []string{"-i", "--cluster-id", "--cluster-name"} {
			if i := slices.Index(user.Exec.Args, flag); i >= 0 && i+1 < len(user.Exec.Args) {
				return user.Exec.Args[i+1]
			}
		}
	}
	return ""
}

// secret reads a Secret; nil if there is none. One that belongs to another
// cluster is an error.
func (m *Management) secret(ctx context.Context, cluster, name types.NamespacedName) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := m.Get(ctx, name, s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", name, err)
	}
	owner := s.Annotations[ClusterAnnotation]
	if owner == "" && name.Namespace == SecretNamespace && cluster.Namespace != SecretNamespace {
		// EKS Anywhere's own, if there is a Cluster beside it. One that has none
		// was left for the cluster that takes its name.
		other := &clusterv1.Cluster{}
		err := m.Get(ctx, types.NamespacedName{Namespace: SecretNamespace, Name: cluster.Name}, other)
		if err == nil {
			return nil, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read Cluster %s/%s: %w", SecretNamespace, cluster.Name, err)
		}
	}
	if owner != "" && owner != cluster.String() {
		return nil, fmt.Errorf("secret %s belongs to Cluster %s, and this is %s: two clusters of one name cannot both be kept by one management cluster; give this one another name", name, owner, cluster)
	}
	return s, nil
}

// ensureSecret makes a Secret hold the data, and more if somebody put it there.
func (m *Management) ensureSecret(ctx context.Context, cluster types.NamespacedName, name string, data map[string][]byte, annotations map[string]string) error {
	return m.ensureSecretIn(ctx, secretNamespaces(cluster), cluster, name, data, annotations)
}

func (m *Management) ensureSecretIn(ctx context.Context, namespaces []string, cluster types.NamespacedName, name string, data map[string][]byte, annotations map[string]string) error {
	for _, namespace := range namespaces {
		key := types.NamespacedName{Namespace: namespace, Name: name}
		if err := m.ensureNamespace(ctx, namespace); err != nil {
			return err
		}
		s, err := m.secret(ctx, cluster, key)
		if err != nil {
			return err
		}
		fresh := s == nil
		if fresh {
			s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		}
		before := s.DeepCopy()
		set(&s.Labels, clusterctlv1.ClusterctlMoveLabel, "true")
		set(&s.Annotations, ClusterAnnotation, cluster.String())
		for k, v := range annotations {
			set(&s.Annotations, k, v)
		}
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		for k, v := range data {
			s.Data[k] = v
		}
		switch {
		case fresh:
			err = m.Create(ctx, s, client.FieldOwner(FieldManager))
		case !equalSecrets(before, s):
			err = m.Update(ctx, s, client.FieldOwner(FieldManager))
		}
		if err != nil {
			return fmt.Errorf("write Secret %s: %w", key, err)
		}
	}
	return nil
}

func equalSecrets(a, b *corev1.Secret) bool {
	return maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) && maps.EqualFunc(a.Data, b.Data, bytes.Equal)
}

func set(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

func (m *Management) ensureNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{}
	err := m.Get(ctx, types.NamespacedName{Name: name}, ns)
	if apierrors.IsNotFound(err) {
		ns.Name = name
		err = m.Create(ctx, ns, client.FieldOwner(FieldManager))
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
	}
	if err != nil && !apierrors.IsForbidden(err) { // whoever may not read it may still write into it
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	return nil
}

// WriteUserKubeconfig keeps the users' kubeconfig on the management cluster.
func (m *Management) WriteUserKubeconfig(ctx context.Context, cluster types.NamespacedName, kubeconfig []byte) error {
	return m.ensureSecret(ctx, cluster, KubeconfigSecretName(cluster.Name), map[string][]byte{kubeconfigKey: kubeconfig}, nil)
}

// WriteStaticPod keeps the static pod that joining control-plane machines get. It
// has to be there before the control plane's files name it, and only where the
// control plane is.
func (m *Management) WriteStaticPod(ctx context.Context, cluster types.NamespacedName, pod []byte) error {
	return m.ensureSecretIn(ctx, []string{cluster.Namespace}, cluster, BootstrapSecretName(cluster.Name), map[string][]byte{BootstrapKey: pod}, nil)
}

// BootstrapSecret is the Secret that WriteStaticPod writes, for those who apply it
// themselves. The pod is in stringData, to be read.
func BootstrapSecret(cluster types.NamespacedName, pod []byte) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"stringData": map[string]any{BootstrapKey: string(pod)},
	}}
	u.SetNamespace(cluster.Namespace)
	u.SetName(BootstrapSecretName(cluster.Name))
	u.SetLabels(map[string]string{clusterctlv1.ClusterctlMoveLabel: "true"})
	u.SetAnnotations(map[string]string{ClusterAnnotation: cluster.String()})
	return u
}

// DeleteSecrets removes what EnsureKeys and the functions that write have made, or
// adopted.
func (m *Management) DeleteSecrets(ctx context.Context, cluster types.NamespacedName) error {
	var problems []error
	for _, kept := range keptSecrets(cluster) {
		for _, namespace := range kept.namespaces {
			s, err := m.secret(ctx, cluster, types.NamespacedName{Namespace: namespace, Name: kept.name})
			if err == nil && s != nil {
				err = client.IgnoreNotFound(m.Delete(ctx, s, client.Preconditions{UID: &s.UID}))
			}
			problems = append(problems, err)
		}
		if err := errors.Join(problems...); err != nil {
			return err
		}
	}
	return nil
}

// UserKubeconfig is the users' kubeconfig that the management cluster keeps.
func (m *Management) UserKubeconfig(ctx context.Context, cluster types.NamespacedName) ([]byte, error) {
	name := KubeconfigSecretName(cluster.Name)
	for _, namespace := range secretNamespaces(cluster) {
		s, err := m.secret(ctx, cluster, types.NamespacedName{Namespace: namespace, Name: name})
		if err != nil {
			return nil, err
		}
		if s != nil && len(s.Data[kubeconfigKey]) > 0 {
			return s.Data[kubeconfigKey], nil
		}
	}
	return nil, fmt.Errorf("secret %s/%s: %w: `capiam create cluster` or `capiam upgrade cluster` writes it", SecretNamespace, name, ErrNotFound)
}
