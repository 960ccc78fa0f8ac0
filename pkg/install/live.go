package install

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/render"
)

// Live is what a cluster's authenticator goes by now. What is not there is
// empty.
type Live struct {
	// ClusterID is the one in the authenticator's configuration.
	ClusterID string
	// Leaf is the certificate that it shows.
	Leaf pki.KeyPair
}

// Live reads what is installed, by capiam or by EKS Anywhere.
func (i *Installer) Live(ctx context.Context) (Live, error) {
	var l Live
	cm, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.ReleaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return l, fmt.Errorf("read ConfigMap %s/%s: %w", render.Namespace, render.ReleaseName, err)
	default:
		name := "ConfigMap " + render.Namespace + "/" + render.ReleaseName
		file, err := config.Parse(name, []byte(cm.Data["config.yaml"]))
		if err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
		l.ClusterID = file.ClusterID
	}
	s, err := i.kube.CoreV1().Secrets(render.Namespace).Get(ctx, render.ReleaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return l, fmt.Errorf("read Secret %s/%s: %w", render.Namespace, render.ReleaseName, err)
	default:
		l.Leaf = pki.KeyPair{CertPEM: s.Data["cert.pem"], KeyPEM: s.Data["key.pem"]}
	}
	return l, nil
}

// Backends are the modes that the authenticator reads its mappings by, in order.
func (i *Installer) Backends(ctx context.Context) ([]string, error) {
	ds, err := i.kube.AppsV1().DaemonSets(render.Namespace).Get(ctx, render.ReleaseName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read DaemonSet %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	for _, container := range ds.Spec.Template.Spec.Containers {
		for _, arg := range container.Args {
			if modes, ok := strings.CutPrefix(arg, "--backend-mode="); ok {
				return strings.Split(modes, ","), nil
			}
		}
	}
	return nil, fmt.Errorf("DaemonSet %s/%s: its flags name no --backend-mode", render.Namespace, render.ReleaseName)
}

// Mapped tells whether capiam has mapped identities in this cluster before: in
// aws-auth, or else in IAMIdentityMappings.
func (i *Installer) Mapped(ctx context.Context, inCRD bool) (bool, error) {
	if inCRD {
		list, err := i.dynamic.Resource(identityMappings).List(ctx, metav1.ListOptions{
			LabelSelector: render.ManagedByLabel + "=" + render.ManagedBy, Limit: 1,
		})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list %ss: %w", render.IdentityMappingKind, err)
		}
		return len(list.Items) > 0, nil
	}
	live, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	return live.Annotations[applied.Annotation] != "", nil
}

// WaitAPI waits until the API server answers: a control plane that is being
// made, or rolled, breaks connections for a while.
func (i *Installer) WaitAPI(ctx context.Context) error {
	for {
		_, err := i.kube.CoreV1().Namespaces().Get(ctx, render.Namespace, metav1.GetOptions{})
		switch {
		case err == nil:
			return nil
		case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
			return fmt.Errorf("the API server does not take the administrator's certificate: %w", err)
		case isCertificateError(err):
			return fmt.Errorf("the API server is not the one that was looked for: %w", err)
		}
		if sleepErr := i.sleep(ctx); sleepErr != nil {
			return fmt.Errorf("the API server does not answer: %w (%w)", err, sleepErr)
		}
	}
}

// isCertificateError tells whether a server was reached whose certificate is
// another's.
func isCertificateError(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

// Remove takes away all that was installed for IAM logins: the release, capiam's
// mappings in whatever backend, and the Bundles object of the cluster. Entries
// of other writers in aws-auth stay, as do the CRDs, which others may use. It
// goes on after an error, and says what it has removed.
func (i *Installer) Remove(ctx context.Context, cluster string) ([]string, error) {
	var removed []string
	var problems []error
	note := func(did bool, what string, err error) {
		if did {
			removed = append(removed, what)
		}
		problems = append(problems, err)
	}
	_, wrote, err := i.ApplyAWSAuth(ctx, mapping.Mappings{}, nil)
	note(wrote, "mappings in "+awsAuthName, err)
	if err := i.dropEmptyAWSAuth(ctx); err != nil {
		problems = append(problems, err)
	}
	plan, err := i.EnsureIdentityMappings(ctx, nil, nil)
	note(plan != nil && !plan.Empty(), render.IdentityMappingKind+"s", err)
	gone, err := i.Uninstall(ctx)
	note(gone, "Helm release "+render.Namespace+"/"+render.ReleaseName, err)
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("anywhere.eks.amazonaws.com/v1alpha1")
	u.SetKind("Bundles")
	u.SetNamespace(render.BundlesNamespace)
	u.SetName(cluster)
	if resource, err := i.resource(u); err == nil {
		err = resource.Delete(ctx, cluster, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			err = nil
		} else if err == nil {
			removed = append(removed, "Bundles "+render.BundlesNamespace+"/"+cluster)
		}
		problems = append(problems, err)
	}
	return removed, errors.Join(problems...)
}

// dropEmptyAWSAuth deletes aws-auth if nothing is left in it: with nobody's
// entries, it only looks as if somebody could log in.
func (i *Installer) dropEmptyAWSAuth(ctx context.Context) error {
	maps := i.kube.CoreV1().ConfigMaps(render.Namespace)
	live, err := maps.Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	table, findings := mapping.Parse(live.Data)
	m := table.Mappings()
	if len(findings) > 0 || len(m.Roles)+len(m.Users)+len(m.Accounts) > 0 {
		return nil
	}
	err = maps.Delete(ctx, render.AWSAuthName, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", awsAuthName, err)
	}
	return nil
}
