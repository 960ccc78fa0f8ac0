package clusterapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/release"
)

// reachTimeout is how long the management cluster may take to answer.
const reachTimeout = 15 * time.Second

func (p *preflight) reachable(ctx context.Context) finding {
	kube, err := kubernetes.NewForConfig(p.m.Config)
	if err == nil {
		p.kube = kube
		ctx, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		err = kube.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	}
	if err == nil {
		return finding{}
	}
	named := "the management cluster"
	if p.m.Context != "" {
		named = fmt.Sprintf("the management cluster (context %s)", p.m.Context)
	}
	f := finding{
		problem: fmt.Sprintf("%s does not answer: %v", named, err),
		remedy:  "check that it runs and can be reached from here, and that --kubeconfig and --context name it",
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case apierrors.IsUnauthorized(err):
		f.problem = fmt.Sprintf("%s does not take the kubeconfig's credentials: %v", named, err)
		f.remedy = "log in again, or get a new kubeconfig: these credentials have expired or are another cluster's"
	case apierrors.IsForbidden(err):
		return finding{} // it answers; permissions are checked below
	case untrusted:
		f.remedy = "get a new kubeconfig: certificate-authority-data is not that of the server that answers"
	}
	return f
}

// served returns the versions of an API group, none if there is no such group.
func (p *preflight) served(ctx context.Context, group string) ([]string, error) {
	var g metav1.APIGroup
	err := p.kube.Discovery().RESTClient().Get().AbsPath("/apis", group).Do(ctx).Into(&g)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	var versions []string
	for _, v := range g.Versions {
		versions = append(versions, v.Version)
	}
	return versions, err
}

// version checks what Cluster API is there.
func (p *preflight) version(ctx context.Context) finding {
	const upgrade = "upgrade Cluster API to v1.11 or later: `clusterctl upgrade plan`, then `clusterctl upgrade apply --contract v1beta2`"
	for _, need := range []struct{ group, initialize string }{
		{clusterv1.GroupVersion.Group, "clusterctl init --infrastructure PROVIDER"},
		{controlplanev1.GroupVersion.Group, "clusterctl init --bootstrap kubeadm --control-plane kubeadm"},
	} {
		versions, err := p.served(ctx, need.group)
		switch {
		case err != nil:
			return unknown("find out which versions of "+need.group+" it serves", err)
		case len(versions) == 0:
			return finding{
				problem: "it has no API group " + need.group,
				remedy:  "install Cluster API there: " + need.initialize + "; or name another management cluster with --kubeconfig and --context",
			}
		case !slices.Contains(versions, version):
			return finding{problem: fmt.Sprintf("it serves %s %s, and capiam needs %s", need.group, strings.Join(versions, ", "), version), remedy: upgrade}
		}
	}
	return p.contract(ctx)
}

// contract checks the label by which Cluster API itself finds the version of a
// kind that another object refers to. Its core kinds have none.
func (p *preflight) contract(ctx context.Context) finding {
	const name = "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io"
	label := clusterv1.GroupVersion.Group + "/" + version
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	err := p.m.Get(ctx, client.ObjectKey{Name: name}, crd)
	switch {
	case apierrors.IsForbidden(err):
		return finding{} // then what is served has to do
	case apierrors.IsNotFound(err):
		// Other control planes are in the same API group.
		return finding{
			problem: "it has no CustomResourceDefinition " + name,
			remedy:  "install the control plane provider kubeadm there: clusterctl init --bootstrap kubeadm --control-plane kubeadm",
		}
	case err != nil:
		return unknown("read CustomResourceDefinition "+name, err)
	case !slices.Contains(strings.Split(crd.Labels[label], "_"), version):
		return finding{
			problem: fmt.Sprintf("CustomResourceDefinition %s has no label %s=%s, by which Cluster API finds the version of its contract", name, label, version),
			remedy:  "install the provider by clusterctl or by its own kustomization, which set the label",
		}
	}
	return finding{}
}

// kinds checks that all providers are there that the spec's objects need.
func (p *preflight) kinds(context.Context) finding {
	var missing []string
	for _, kind := range p.o.Kinds {
		if _, err := p.m.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version); meta.IsNoMatchError(err) {
			if text := kind.Kind + " of " + kind.GroupVersion().String(); !slices.Contains(missing, text) {
				missing = append(missing, text)
			}
		} else if err != nil {
			return unknown("find out whether it has "+kind.Kind, err)
		}
	}
	if len(missing) == 0 {
		return finding{}
	}
	return finding{
		problem: "it does not have " + strings.Join(missing, ", "),
		remedy:  "install the provider that brings it, as with `clusterctl init --infrastructure PROVIDER`, or correct apiVersion and kind",
	}
}

// What EKS Anywhere calls its own.
var (
	eksaClusterKind   = schema.GroupVersionKind{Group: "anywhere.eks.amazonaws.com", Version: "v1alpha1", Kind: "Cluster"}
	eksaControllerKey = types.NamespacedName{Namespace: SecretNamespace, Name: "eksa-controller-manager"}
)

const (
	eksaFinalizer    = "clusters.anywhere.eks.amazonaws.com/finalizer"
	eksaClusterLabel = "cluster.anywhere.eks.amazonaws.com/cluster-name"
)

// eksAnywhere looks for EKS Anywhere's hand on the cluster. That there is an API
// group of its name says nothing, as capiam's own kinds are in it.
func (p *preflight) eksAnywhere(ctx context.Context) finding {
	keeps, err := p.keptByEKSAnywhere(ctx)
	if err != nil {
		return unknown("find out whether EKS Anywhere keeps the cluster", err)
	}
	if keeps == "" {
		return finding{}
	}
	return finding{
		problem: keeps + ", so EKS Anywhere's controller would undo what capiam changes",
		remedy:  "change this cluster's logins through EKS Anywhere (`eksctl anywhere upgrade cluster -f FILE`); do not delete its Cluster object, which would delete the cluster",
	}
}

// keptByEKSAnywhere says what shows that EKS Anywhere keeps the cluster; it is
// empty if nothing does.
func (p *preflight) keptByEKSAnywhere(ctx context.Context) (string, error) {
	running, err := p.eksaController(ctx)
	if err != nil {
		return "", err
	}
	// All Cluster API Clusters of EKS Anywhere are in its own namespace; its own
	// Clusters need not be.
	if p.o.Cluster.Namespace == SecretNamespace {
		clusters := &metav1.PartialObjectMetadataList{}
		clusters.SetGroupVersionKind(eksaClusterKind)
		err := p.m.List(ctx, clusters)
		if apierrors.IsForbidden(err) {
			err = p.m.List(ctx, clusters, client.InNamespace(SecretNamespace))
		}
		if err != nil && !absent(err) && !apierrors.IsForbidden(err) {
			return "", err
		}
		for _, c := range clusters.Items {
			if c.Name == p.o.Cluster.Name && (running || slices.Contains(c.Finalizers, eksaFinalizer)) {
				return fmt.Sprintf("Cluster %s/%s of %s manages it", c.Namespace, c.Name, eksaClusterKind.Group), nil
			}
		}
	}
	if !running || p.state == nil {
		return "", nil
	}
	if p.state.Cluster.Labels[eksaClusterLabel] != "" {
		return fmt.Sprintf("Cluster %s has the label %s", p.o.Cluster, eksaClusterLabel), nil
	}
	if kcp := p.state.ControlPlane; kcp != nil && kcp.Labels[eksaClusterLabel] != "" {
		return fmt.Sprintf("KubeadmControlPlane %s/%s has the label %s", kcp.Namespace, kcp.Name, eksaClusterLabel), nil
	}
	return "", nil
}

// eksaController tells whether EKS Anywhere's controller is there, or may be.
func (p *preflight) eksaController(ctx context.Context) (bool, error) {
	deployment := &metav1.PartialObjectMetadata{}
	deployment.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	err := p.m.Get(ctx, eksaControllerKey, deployment)
	if absent(err) {
		return false, nil
	}
	if apierrors.IsForbidden(err) {
		return true, nil
	}
	return err == nil, err
}

// absent tells whether an error says that an object or its kind does not exist.
func absent(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

func (p *preflight) nameClash(ctx context.Context) finding {
	key := p.o.Cluster
	if p.o.Creating && p.state != nil && !p.state.Managed() {
		return finding{
			problem: fmt.Sprintf("Cluster %s is there already, and capiam has not made it", key),
			remedy:  "to give that cluster AWS IAM logins, run `capiam upgrade cluster`; to make a new one, give it another name or namespace",
		}
	}
	for _, name := range []string{CASecretName(key.Name), KubeconfigSecretName(key.Name)} {
		s, err := p.readSecret(ctx, types.NamespacedName{Namespace: SecretNamespace, Name: name})
		switch {
		case err != nil:
			return unknown("read Secret "+SecretNamespace+"/"+name, err)
		case s == nil:
			continue
		}
		owner := s.Annotations[ClusterAnnotation]
		if owner == "" && key.Namespace != SecretNamespace {
			// EKS Anywhere's have no annotation, and are of clusters there.
			other := types.NamespacedName{Namespace: SecretNamespace, Name: key.Name}
			err := p.m.Get(ctx, other, &clusterv1.Cluster{})
			if err != nil && !absent(err) && !apierrors.IsForbidden(err) {
				return unknown("read Cluster "+other.String(), err)
			}
			if err == nil {
				owner = other.String()
			}
		}
		if owner != "" && owner != key.String() {
			return finding{
				problem: fmt.Sprintf("Secret %s/%s belongs to Cluster %s", SecretNamespace, name, owner),
				remedy:  "give this cluster another name: one management cluster cannot keep the logins of two clusters of the same name",
			}
		}
	}
	if p.o.Creating && p.state == nil {
		name := secret.Name(key.Name, secret.Kubeconfig)
		s, err := p.readSecret(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name})
		if err != nil {
			return unknown("read Secret "+key.Namespace+"/"+name, err)
		}
		if s != nil {
			return finding{
				problem: fmt.Sprintf("Secret %s/%s is there, though there is no such Cluster: it may be left from an earlier one of that name, and then the new one never becomes available", key.Namespace, name),
				remedy:  fmt.Sprintf("if it is left over, delete it and the cluster's other Secrets: kubectl --namespace %s delete secret --selector %s=%s", key.Namespace, clusterv1.ClusterNameLabel, key.Name),
				warning: true,
			}
		}
	}
	return finding{}
}

// readSecret returns nil if there is no such Secret, or it may not be read, which
// is for another check to say.
func (p *preflight) readSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := p.m.Get(ctx, key, s)
	if absent(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	return s, err
}

// controlPlane reports a Cluster that cannot be read as one that capiam can work
// with.
func (p *preflight) controlPlane(context.Context) finding {
	err := p.stateErr
	if err == nil || apierrors.IsForbidden(err) || absent(err) {
		return finding{} // other checks have said so
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) || transient(err) {
		return unknown("read the cluster", err)
	}
	return finding{problem: err.Error(), remedy: "capiam works with the control planes of Cluster API's kubeadm provider alone"}
}

func (p *preflight) notPaused(context.Context) finding {
	if p.state == nil {
		return finding{}
	}
	why := p.state.paused()
	if why == "" {
		return finding{}
	}
	kubectl := fmt.Sprintf("kubectl --namespace %s ", p.o.Cluster.Namespace)
	remedy := kubectl + "patch cluster " + p.o.Cluster.Name + " --type merge --patch '{\"spec\":{\"paused\":false}}'"
	if strings.Contains(why, clusterv1.PausedAnnotation) {
		object := "cluster " + p.o.Cluster.Name
		if strings.HasPrefix(why, "KubeadmControlPlane") {
			object = "kubeadmcontrolplane " + p.state.ControlPlane.Name
		}
		remedy = kubectl + "annotate " + object + " " + clusterv1.PausedAnnotation + "-"
	}
	return finding{
		problem: why + ": nothing would happen, and capiam would wait in vain",
		remedy:  "find out why somebody has paused it, a `clusterctl move` that did not end perhaps; then resume it: " + remedy,
	}
}

func (p *preflight) kubernetesVersion(context.Context) finding {
	whose, full := "the spec's control plane", p.o.ControlPlaneVersion
	if full == "" && p.state != nil {
		switch {
		case p.state.Topology():
			whose, full = "the topology of Cluster "+p.o.Cluster.String(), p.state.Cluster.Spec.Topology.Version
		case p.state.ControlPlane != nil:
			whose, full = "KubeadmControlPlane "+p.state.ControlPlane.Name, p.state.ControlPlane.Spec.Version
		}
	}
	is := p.o.KubernetesVersion
	if full != "" {
		minor, err := release.ParseKubeVersion(full)
		if err != nil {
			return finding{problem: fmt.Sprintf("%s: %v", whose, err), remedy: "correct its version"}
		}
		if is != "" && minor != is {
			return finding{
				problem: fmt.Sprintf("%s has Kubernetes %s, and the spec says kubernetesVersion: %q", whose, full, is),
				remedy:  fmt.Sprintf("write kubernetesVersion: %q into the spec; capiam does not change a cluster's version by itself", minor),
			}
		}
		is = minor
	}
	if p.o.Release == nil || is == "" {
		return finding{}
	}
	if known := p.o.Release.KubeVersions(); !slices.Contains(known, is) {
		return finding{
			problem: fmt.Sprintf("the release manifest has nothing for Kubernetes %s, but for %s", is, strings.Join(known, ", ")),
			remedy:  "give a manifest that has it with --bundles-override, or use a version of capiam that does",
		}
	}
	return finding{}
}
