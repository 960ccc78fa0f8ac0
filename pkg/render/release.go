package render

import (
	"errors"
	"fmt"
	"runtime"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/manifests"
	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/spec"
)

// BundlesNamespace is where the cluster's Bundles object is: where kubectl looks
// when it is told no namespace, as in EKS Anywhere's documentation.
const BundlesNamespace = "default"

// Image is the authenticator's image for a spec, as nodes pull it.
func Image(m *release.Manifest, s *spec.Spec) (string, error) {
	image := s.IAM.Spec.Server.Image
	if image == "" {
		var err error
		if image, err = serverImage(m, s); err != nil {
			return "", fmt.Errorf("find the authenticator's image: %w; name one in spec.server.image of the AWSIamConfig", err)
		}
	}
	return mirrored(image, s.Cluster.Spec.RegistryMirrorConfiguration), nil
}

// serverImage is the image that a release pins for a spec's authenticator.
func serverImage(m *release.Manifest, s *spec.Spec) (string, error) {
	find := m.CapiamImage
	if s.IAM.Spec.Server.Implementation == v1alpha1.ImplementationAWSIAMAuthenticator {
		find = m.AuthenticatorImage
	}
	image, err := find(s.Cluster.Spec.KubernetesVersion)
	if err != nil {
		return "", err
	}
	return image.Reference(), nil
}

// bundles are the Bundles object of the cluster, which says which release its
// clients come from, and the CRD it needs.
func bundles(m *release.Manifest, cluster string) (crd, object *unstructured.Unstructured, err error) {
	crd, err = manifests.CRD(manifests.BundlesCRD)
	if err != nil {
		return nil, nil, err
	}
	return crd, m.BundlesFor(cluster, BundlesNamespace), nil
}

// downloadURI is where the client for the machine that this runs on is
// downloaded from; empty if there is none for it.
func downloadURI(m *release.Manifest, s *spec.Spec) (string, error) {
	if m == nil || s.IAM.Spec.Client.Command == v1alpha1.ClientAWS {
		return "", nil
	}
	asset, err := m.ClientNamed(s.IAM.Spec.Client.Command, s.Cluster.Spec.KubernetesVersion, runtime.GOOS, runtime.GOARCH)
	var unknown *release.UnknownError
	if errors.As(err, &unknown) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find the client's download: %w", err)
	}
	return asset.URI, nil
}
