// Package generate writes everything that a cluster of a spec gets to files,
// without touching a cluster: for a look at it, for review, and for whoever
// applies it by other means.
//
// In a directory, what has to stay the same is kept from one run to the next:
// the cluster ID, the CA, and the certificate until it should be renewed.
package generate

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
	"github.com/capiam/capiam/templates"
)

// Files in the directory, beside the kubeconfigs.
const (
	crdsFile     = "crds.yaml"
	releaseFile  = "aws-iam-authenticator.yaml"
	awsAuthFile  = "aws-auth.yaml"
	identityFile = "iamidentitymappings.yaml"
	configFile   = "aws-iam-authenticator/config.yaml"
	caCertFile   = "pki/ca-cert.pem"
	caKeyFile    = "pki/ca-key.pem"
	leafCertFile = "pki/cert.pem"
	leafKeyFile  = "pki/key.pem"
	// clusterAPIFile and bootstrapFile are for the management cluster, all else
	// for the cluster itself.
	clusterAPIFile = "cluster-api.yaml"
	bootstrapFile  = "cluster-api-bootstrap.yaml"
)

// Options say what to generate.
type Options struct {
	Spec *spec.Spec
	// Dir is the directory for Result's files; empty if there is none.
	Dir string
	// CA is used instead of the directory's, or of a new one.
	CA *pki.CA
	// Image is the authenticator's, where the spec names none.
	Image string
	// Release pins the image where neither names one, and the clients.
	Release *release.Manifest
	// APIServer is where users reach the cluster, for their kubeconfig. It may
	// be left out.
	APIServer render.Endpoint
	// Command makes the files again; it stands in their headers.
	Command string
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Result is what was generated.
type Result struct {
	*render.Output
	// NewClusterID says that the cluster ID was made up, NewCA that the CA
	// was.
	NewClusterID, NewCA bool
	// ClusterAPI holds the Cluster API objects that the spec brings, patched,
	// with their comments; nil if it brings none.
	ClusterAPI []byte
	// bootstrap is the Secret they refer to, if they refer to one.
	bootstrap []*unstructured.Unstructured
	// Files are what Write writes.
	Files []render.File
}

// Run generates, and writes nothing.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	kept, err := readKept(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	id := kept.clusterID
	if id == "" && o.Spec.IAM.Spec.ClusterID == "" {
		id, r.NewClusterID = uuid.NewString(), true
	}
	ca := o.CA
	if ca == nil {
		ca = kept.ca
	}
	if ca == nil {
		if ca, err = pki.NewCA(pki.CAOptions{CommonName: render.ReleaseName, Now: o.Now}); err != nil {
			return nil, err
		}
		r.NewCA = true
	}
	leaf, _, err := ca.WithClock(o.Now).Keep(kept.leaf, pki.AuthenticatorLeaf())
	if err != nil {
		return nil, err
	}
	in := render.Input{
		Spec:      o.Spec,
		ClusterID: id,
		Image:     o.Image,
		Release:   o.Release,
		Webhook:   render.Webhook{CAPEM: ca.CertPEM, Leaf: leaf},
		APIServer: o.APIServer,
	}
	if r.Output, err = render.Render(in); err != nil {
		return nil, err
	}
	cfg, err := render.ServerConfig(in)
	if err != nil {
		return nil, err
	}
	data, err := cfg.Encode()
	if err != nil {
		return nil, err
	}
	if r.ClusterAPI, r.bootstrap, err = clusterAPI(o.Spec, ca, r.Output.StaticPod); err != nil {
		return nil, err
	}
	r.Files = slices.Clone(r.Output.Files)
	add := func(name string, data []byte) {
		r.Files = append(r.Files, render.File{Path: name, Mode: atomicfile.Private, Data: data})
	}
	add(configFile, data)
	add(caCertFile, ca.CertPEM)
	add(caKeyFile, ca.KeyPEM)
	add(leafCertFile, leaf.CertPEM)
	add(leafKeyFile, leaf.KeyPEM)
	if r.ClusterAPI != nil {
		header, err := templates.Header(templates.HeaderData{
			Cluster: o.Spec.Name, What: "the cluster's Cluster API objects, for its management cluster", Command: o.Command,
		})
		if err != nil {
			return nil, err
		}
		add(clusterAPIFile, append([]byte(header), r.ClusterAPI...))
	}
	for _, part := range r.parts() {
		if len(part.objects) == 0 {
			continue
		}
		header, err := templates.Header(templates.HeaderData{
			Cluster: o.Spec.Name, What: part.what, Command: o.Command, Secret: part.secret,
		})
		if err != nil {
			return nil, err
		}
		body, err := render.Encode(part.objects)
		if err != nil {
			return nil, err
		}
		add(part.file, append([]byte(header), body...))
	}
	slices.SortFunc(r.Files, func(a, b render.File) int { return cmpPath(a.Path, b.Path) })
	return r, nil
}

// clusterAPI patches the Cluster API objects that a spec brings. The objects
// beside them are what those refer to.
func clusterAPI(s *spec.Spec, ca *pki.CA, staticPod []byte) (text []byte, beside []*unstructured.Unstructured, err error) {
	manifests, key, err := provider.Manifests(s, "")
	if manifests == nil || err != nil {
		return nil, nil, err
	}
	if class, missing := manifests.ClassRef(); missing {
		return nil, nil, fmt.Errorf("the cluster is made from ClusterClass %s, which is not among the spec's objects: add it, or name its file in spec.files of the ClusterAPIDatacenterConfig", class.NamespacedName)
	}
	wiring := clusterapi.Wiring{}
	if wiring.Webhook, err = kubeconfig.Encode(kubeconfig.Webhook(render.DefaultWebhookURL, ca.CertPEM)); err != nil {
		return nil, nil, err
	}
	if staticPod != nil {
		wiring.BootstrapSecret = clusterapi.BootstrapSecretName(key.Name)
		beside = append(beside, clusterapi.BootstrapSecret(key, staticPod))
	}
	if _, err := manifests.Enable(wiring); err != nil {
		return nil, nil, err
	}
	return manifests.Encode(), beside, nil
}

// part is a file of objects.
type part struct {
	file, what string
	secret     bool
	objects    []*unstructured.Unstructured
}

func (r *Result) parts() []part {
	mappings := part{file: identityFile, what: "who may log in", objects: r.Mappings}
	if len(r.Mappings) > 0 && r.Mappings[0].GetKind() == "ConfigMap" {
		mappings.file = awsAuthFile
	}
	return []part{
		{file: crdsFile, what: "definitions of the kinds that mappings are kept in", objects: r.CRDs},
		{file: bootstrapFile, what: "the static pod that the control plane's machines get, for the management cluster", objects: r.bootstrap},
		{file: releaseFile, what: "the authenticator", secret: true, objects: r.Release},
		mappings,
	}
}

// Stream is all API objects as one stream of YAML documents.
func (r *Result) Stream() ([]byte, error) { return render.Encode(r.Objects) }

func cmpPath(a, b string) int {
	// What is in no subdirectory comes first.
	deepA, deepB := path.Dir(a) != ".", path.Dir(b) != "."
	switch {
	case deepA == deepB && a < b, !deepA && deepB:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// errNoDir is returned by Write without a directory.
var errNoDir = errors.New("no directory to write to")

// at is a file of the directory.
func at(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

func wrapDir(dir string, err error) error { return fmt.Errorf("directory %s: %w", dir, err) }
