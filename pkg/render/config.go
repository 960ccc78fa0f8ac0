package render

import (
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

// ServerConfig is the authenticator's configuration file. Backends and
// partition are not in it: they are flags, which EKS Anywhere's users know from
// the DaemonSet.
func ServerConfig(in Input) (*config.File, error) {
	in, err := complete(in)
	if err != nil {
		return nil, err
	}
	return serverConfig(in), nil
}

func serverConfig(in Input) *config.File {
	f := &config.File{ClusterID: in.ClusterID}
	s := &in.Spec.IAM.Spec
	if s.Server.Implementation == v1alpha1.ImplementationAWSIAMAuthenticator {
		// It takes its region from the environment, and the rest is unknown
		// to it.
		return f
	}
	f.Server.Region = s.AWSRegion
	if sharesPort(in) {
		f.Server.SharePort = new(true)
	}
	if !s.TakesPresigned() {
		f.Server.Tokens = slices.Clone(s.Tokens)
	}
	if !s.TakesJWT() {
		return f
	}
	for _, issuer := range in.TokenIssuers {
		f.Server.TokenIssuers = append(f.Server.TokenIssuers, config.TokenIssuer{
			IssuerURL: issuer.IssuerURL,
			AccountID: issuer.AccountID,
		})
	}
	f.Server.Audiences = s.EffectiveAudiences(in.ClusterID)
	return f
}

// configValues is the configuration file as the chart takes it: without the
// cluster ID, which is a value of its own.
func configValues(in Input) (map[string]any, error) {
	data, err := serverConfig(in).Encode()
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("read configuration back: %w", err)
	}
	delete(values, "clusterID")
	if server, ok := values["server"].(map[string]any); ok && len(server) == 0 {
		delete(values, "server")
	}
	return values, nil
}
