package workflow

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
	"github.com/capiam/capiam/pkg/stssim"
)

// StrangerProfile is the AWS profile of an identity that no mapping names, for
// seeing what happens to one.
const StrangerProfile = "stranger"

// strangerAccount is an account that no mapping should name.
const strangerAccount = "999999999999"

// localCluster is one local cluster and its spec, in the hands of a workflow.
type localCluster struct {
	workload
	m       *Manager
	layout  local.Layout
	record  *local.Record
	outputs Outputs

	identities []spec.Identity
	// credentials are those of the spec's identities and the stranger, removed
	// those of identities that an upgrade has taken out.
	credentials, removed []local.Credentials
	issuers              []v1alpha1.TokenIssuer
	// config is the configuration file of the authenticator beside the cluster.
	config []byte
}

// localCluster returns a cluster of this machine, which need not exist yet. The
// spec may be nil.
func (m *Manager) localCluster(name string, s *spec.Spec) *localCluster {
	c := &localCluster{m: m, layout: m.Store.Layout(name)}
	c.workload = workload{spec: s, reach: func() (*rest.Config, error) { return adminConfig(c.layout, c.record), nil }}
	return c
}

// simulated are the identities the simulated STS has to know: all that the spec
// maps, and the stranger.
func (c *localCluster) simulated() []local.Identity {
	c.identities = c.spec.Identities()
	ids := make([]local.Identity, 0, len(c.identities)+1)
	for _, id := range c.identities {
		ids = append(ids, local.Identity{Profile: id.Name, ARN: id.ARN.String(), Session: id.Session})
	}
	return append(ids, local.Identity{
		Profile: StrangerProfile,
		ARN:     c.stranger().String(),
		Session: "capiam",
	})
}

// ensureIdentities makes the simulated STS know the identities, whether it runs
// or not, and remembers their credentials and issuers.
func (c *localCluster) ensureIdentities(ctx context.Context) error {
	ids := c.simulated()
	running, err := local.Running(c.layout)
	if err != nil {
		return err
	}
	var answer *local.IdentitiesResponse
	if running {
		answer, err = local.NewControl(c.layout).EnsureIdentities(ctx, ids)
	} else {
		answer, err = local.EnsureSTS(c.layout, c.record, ids)
	}
	if err != nil {
		return err
	}
	c.learn(answer)
	return nil
}

// previewIdentities is ensureIdentities without making anybody know them.
func (c *localCluster) previewIdentities() error {
	answer, err := local.PreviewSTS(c.layout, c.record, c.simulated())
	if err != nil {
		return err
	}
	c.learn(answer)
	return nil
}

func (c *localCluster) learn(answer *local.IdentitiesResponse) {
	c.credentials = answer.Credentials
	c.issuers = []v1alpha1.TokenIssuer{}
	for account, url := range answer.Issuers {
		c.issuers = append(c.issuers, v1alpha1.TokenIssuer{IssuerURL: url, AccountID: account})
	}
	slices.SortFunc(c.issuers, func(a, b v1alpha1.TokenIssuer) int {
		if a.AccountID < b.AccountID {
			return -1
		}
		return 1
	})
}

// render renders everything the cluster gets, from what is on disk, and writes
// nothing. The token issuers are those of ensureIdentities or
// previewIdentities.
func (c *localCluster) render() error {
	var missing error
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		missing = errors.Join(missing, err)
		return data
	}
	manifest, err := c.m.release()
	if err != nil {
		return err
	}
	in := render.Input{
		Spec:      c.spec,
		ClusterID: c.record.ClusterID,
		Release:   manifest,
		Webhook: render.Webhook{
			URL:   c.record.WebhookURL(),
			CAPEM: read(c.layout.PKI("webhook-ca.crt")),
			Leaf:  pki.KeyPair{CertPEM: read(c.layout.Authenticator("cert.pem")), KeyPEM: read(c.layout.Authenticator("key.pem"))},
		},
		APIServer:    render.Endpoint{URL: c.record.APIServerURL(), CAPEM: read(c.layout.PKI("ca.crt"))},
		Admin:        pki.KeyPair{CertPEM: read(c.layout.PKI("admin.crt")), KeyPEM: read(c.layout.PKI("admin.key"))},
		TokenIssuers: c.issuers,
		Client: render.Client{Env: []kubeconfig.EnvVar{
			// The client finds the cluster's profiles, and its simulated STS
			// where AWS's would be.
			{Name: "AWS_CONFIG_FILE", Value: c.outputs.AWSConfig()},
			{Name: "AWS_SHARED_CREDENTIALS_FILE", Value: c.outputs.AWSCredentials()},
		}},
	}
	if missing != nil {
		return missing
	}
	env := c.awsEnvironment()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		in.Client.Env = append(in.Client.Env, kubeconfig.EnvVar{Name: name, Value: env[name]})
	}
	if c.spec.IAM.Spec.Client.Command == v1alpha1.ClientCapiam {
		in.Client.Command = c.m.Program
	}
	if c.rendered, err = render.Render(in); err != nil {
		return err
	}
	config, err := render.ServerConfig(in)
	if err != nil {
		return err
	}
	c.config, err = config.Encode()
	return err
}

// awsEnvironment leads AWS clients to the simulated STS where AWS's would be.
func (c *localCluster) awsEnvironment() map[string]string {
	return map[string]string{
		"AWS_CA_BUNDLE":             c.layout.STSCA(),
		"AWS_EC2_METADATA_DISABLED": "true",
		"HTTPS_PROXY":               c.record.STSProxyURL(),
	}
}

// writeConfig writes the authenticator's configuration file.
func (c *localCluster) writeConfig() error {
	_, err := atomicfile.Write(c.layout.AuthenticatorConfig(), c.config, atomicfile.Private)
	return err
}

// refreshAuthenticator has the authenticator read its configuration anew, if it
// was started with another one. It tells whether that was so.
func (c *localCluster) refreshAuthenticator(ctx context.Context) (bool, error) {
	outdated, err := c.authenticatorOutdated(ctx)
	if err != nil || !outdated {
		return false, err
	}
	return true, local.NewControl(c.layout).RestartAuthenticator(ctx)
}

// authenticatorOutdated tells whether the authenticator was started with another
// configuration than the one that was rendered.
func (c *localCluster) authenticatorOutdated(ctx context.Context) (bool, error) {
	status, err := local.NewControl(c.layout).Status(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(status.Components, func(part local.ComponentStatus) bool {
		// One that has not been started yet will read what is there then.
		return part.Config != "" && part.Config != local.ConfigSum(c.config)
	}), nil
}

// writeKubeconfigs writes the kubeconfigs of users and administrator.
func (c *localCluster) writeKubeconfigs() (changed bool, err error) {
	for _, file := range c.rendered.Files {
		if file.Path == render.WebhookFile {
			continue // it is the control plane's
		}
		wrote, err := atomicfile.Write(filepath.Join(c.outputs.Dir, filepath.FromSlash(file.Path)), file.Data, file.Mode)
		changed = changed || wrote
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// writeProfiles writes the AWS profiles of the spec's identities.
func (c *localCluster) writeProfiles() error {
	profiles := make([]stssim.Profile, 0, len(c.credentials))
	for _, k := range c.credentials {
		profiles = append(profiles, stssim.Profile{Name: k.Profile, Region: c.record.Region, Credentials: stssim.Credentials{
			AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken,
		}})
	}
	return stssim.WriteProfiles(c.outputs.Dir, profiles)
}

// notFound tells whether the error says that a cluster does not exist.
func notFound(err error) bool { return errors.Is(err, local.ErrNotFound) }
