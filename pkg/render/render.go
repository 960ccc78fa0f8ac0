package render

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/manifests"
	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/spec"
)

// Where things are in the cluster.
const (
	// Namespace holds the authenticator and aws-auth.
	Namespace = "kube-system"
	// ReleaseName is the Helm release, and the name of its objects.
	ReleaseName = "aws-iam-authenticator"
	// AWSAuthName is the ConfigMap of the EKSConfigMap backend.
	AWSAuthName = "aws-auth"
)

// DefaultWebhookURL is where an API server finds the authenticator on its own
// node. It is EKS Anywhere's.
const DefaultWebhookURL = "https://localhost:21362/authenticate"

// Input is all that Render looks at.
type Input struct {
	// Spec is the cluster's, with defaults. Required.
	Spec *spec.Spec
	// ClusterID is the name tokens are made for. Required, unless the spec has
	// one.
	ClusterID string
	// Image is the authenticator's, where the spec names none.
	Image string
	// Release pins the image, where neither the spec nor Image names one, and
	// is told to the cluster as its Bundles object. It may be nil.
	Release *release.Manifest
	// Webhook is the authenticator's certificate and its CA. Required.
	Webhook Webhook
	// APIServer is where users reach the cluster. Without it there are no
	// kubeconfigs for people.
	APIServer Endpoint
	// Admin is the administrator's client certificate. Without it there is no
	// kubeconfig for the administrator.
	Admin pki.KeyPair
	// Client is how users' kubeconfigs call for a token.
	Client Client
	// TokenIssuers replace the spec's if not nil: a local cluster brings its
	// own.
	TokenIssuers []v1alpha1.TokenIssuer
}

// Webhook is how the API server reaches the authenticator.
type Webhook struct {
	// URL is DefaultWebhookURL if empty.
	URL string
	// CAPEM is what the API server trusts.
	CAPEM []byte
	// Leaf is what the authenticator shows.
	Leaf pki.KeyPair
}

// Endpoint is an API server as its clients see it.
type Endpoint struct {
	URL   string
	CAPEM []byte
}

// Client is how a users' kubeconfig calls for a token.
type Client struct {
	// Command is the path of the client; if empty it is looked up in PATH.
	Command string
	// Env is added to the client's environment.
	Env []kubeconfig.EnvVar
	// InstallHint replaces the general one.
	InstallHint string
}

// Output is what a cluster gets.
type Output struct {
	// ClusterID is the name tokens are made for.
	ClusterID string
	// Values are the chart's, in the form in which Helm keeps them.
	Values map[string]any
	// CRDs have to be there before everything else.
	CRDs []*unstructured.Unstructured
	// Release holds the chart's objects.
	Release []*unstructured.Unstructured
	// StaticPod is the manifest of what stands in for the DaemonSet's pod on a
	// control-plane node that is still joining, in YAML; nil where the
	// authenticator cannot share its port.
	StaticPod []byte
	// Bundles is the cluster's Bundles object; nil without a Release.
	Bundles *unstructured.Unstructured
	// Mappings is the ConfigMap aws-auth or, if that backend is off, the
	// IAMIdentityMappings.
	Mappings []*unstructured.Unstructured
	// Objects are all of these, in an order in which they can be applied.
	Objects []*unstructured.Unstructured
	// Files are the kubeconfigs.
	Files []File
}

// Render makes everything that the cluster of a spec gets.
func Render(in Input) (*Output, error) {
	in, err := complete(in)
	if err != nil {
		return nil, err
	}
	out := &Output{ClusterID: in.ClusterID}
	if out.Values, err = chartValues(in); err != nil {
		return nil, err
	}
	chart, err := manifests.Chart()
	if err != nil {
		return nil, err
	}
	if out.Release, err = Chart(chart, out.Values); err != nil {
		return nil, err
	}
	if sharesPort(in) {
		if out.StaticPod, err = staticPod(out.Release, serverConfig(in)); err != nil {
			return nil, err
		}
	}
	if slices.Contains(in.Spec.IAM.Spec.BackendMode, v1alpha1.BackendCRD) {
		crd, err := manifests.CRD(manifests.IdentityMappingCRD)
		if err != nil {
			return nil, err
		}
		out.CRDs = append(out.CRDs, crd)
	}
	if in.Release != nil {
		crd, object, err := bundles(in.Release, in.Spec.Name)
		if err != nil {
			return nil, err
		}
		out.CRDs = append(out.CRDs, crd)
		out.Bundles = object
	}
	if out.Mappings, err = mappingObjects(in.Spec); err != nil {
		return nil, err
	}
	if out.Files, err = renderFiles(in); err != nil {
		return nil, err
	}
	out.Objects = slices.Concat(out.CRDs, out.Release, out.Mappings)
	if out.Bundles != nil {
		out.Objects = append(out.Objects, out.Bundles)
	}
	return out, nil
}

// complete fills in what follows from other fields, and refuses an Input that
// lacks something.
func complete(in Input) (Input, error) {
	if in.Spec == nil || in.Spec.Cluster == nil || in.Spec.IAM == nil {
		return in, errors.New("render: no spec with a Cluster and an AWSIamConfig")
	}
	fail := func(format string, args ...any) (Input, error) {
		return in, fmt.Errorf("render cluster %s: %w", in.Spec.Name, fmt.Errorf(format, args...))
	}
	iamSpec := &in.Spec.IAM.Spec
	if id := iamSpec.ClusterID; id != "" {
		if in.ClusterID != "" && in.ClusterID != id {
			return fail("the spec's cluster ID is %q, the cluster's is %q: a cluster keeps its ID", id, in.ClusterID)
		}
		in.ClusterID = id
	}
	if in.ClusterID == "" {
		return fail("no cluster ID")
	}
	if iamSpec.Server.Image != "" {
		in.Image = iamSpec.Server.Image
	}
	if in.Image == "" && in.Release != nil {
		var err error
		if in.Image, err = serverImage(in.Release, in.Spec); err != nil {
			return fail("find the authenticator's image: %w; name one in spec.server.image of the AWSIamConfig", err)
		}
	}
	if in.Image == "" {
		return fail("no image of the authenticator: name one in spec.server.image of the AWSIamConfig")
	}
	if len(in.Webhook.CAPEM) == 0 || len(in.Webhook.Leaf.CertPEM) == 0 || len(in.Webhook.Leaf.KeyPEM) == 0 {
		return fail("no certificate for the authenticator")
	}
	if in.Webhook.URL == "" {
		in.Webhook.URL = DefaultWebhookURL
	}
	if in.TokenIssuers == nil {
		in.TokenIssuers = iamSpec.TokenIssuers
	}
	if iamSpec.TakesJWT() && iamSpec.Server.Implementation == v1alpha1.ImplementationAWSIAMAuthenticator {
		return fail("%s knows no JWTs: leave them out of spec.tokens, or set spec.server.implementation to %s",
			v1alpha1.ImplementationAWSIAMAuthenticator, v1alpha1.ImplementationCapiam)
	}
	return in, nil
}
