package kubeconfig

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Clients that a User kubeconfig can call for a token.
const (
	ClientCapiam              = "capiam"
	ClientAWSIAMAuthenticator = "aws-iam-authenticator"
	ClientAWS                 = "aws"
)

// execAPIVersion is asked of every client. kubectl refuses an answer in another
// version. All three answer in the version asked for in KUBERNETES_EXEC_INFO:
// aws-iam-authenticator since v0.5.4, the AWS CLI since 1.24 and 2.7.
const execAPIVersion = "client.authentication.k8s.io/v1"

// EnvVar is a variable of the client's environment.
type EnvVar struct {
	Name, Value string
}

// UserOptions are what User makes a kubeconfig from.
type UserOptions struct {
	// Cluster is the cluster's name.
	Cluster string
	// Server is the API server's URL.
	Server string
	CAPEM  []byte
	// Client is one of the Client constants.
	Client string
	// Command is how the client is called, its name if empty.
	Command string
	// ClusterID is the name a token is made for.
	ClusterID string
	// Region is where tokens are made; it has to be in the cluster's
	// partition.
	Region string
	// JWT asks for a JWT instead of a presigned token. Only ClientCapiam can.
	JWT bool
	// Audience is what the JWT is made for; the cluster ID if empty.
	Audience string
	// Env is added to the client's environment. It wins over what this
	// package sets.
	Env []EnvVar
	// InstallHint is shown by kubectl if the command is missing.
	InstallHint string
}

// User is the kubeconfig that AWS identities log in with: it holds no
// credential, but calls a client that signs a token with the AWS credentials it
// finds. The region is set, as a token for another partition's STS is of no use
// to the cluster.
func User(o UserOptions) (*clientcmdapi.Config, error) {
	args, err := clientArgs(o)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of cluster %q: %w", o.Cluster, err)
	}
	command := o.Command
	if command == "" {
		command = o.Client
	}
	// kubectl looks a bare name up in PATH and takes any other one as a path,
	// a relative one from the kubeconfig's directory. A kubeconfig is moved
	// and merged, so that would soon lead elsewhere.
	if strings.ContainsAny(command, `/\`) && !filepath.IsAbs(command) {
		return nil, fmt.Errorf("kubeconfig of cluster %q: client command %q is neither a name nor an absolute path", o.Cluster, command)
	}
	name := o.Cluster + "-aws"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[o.Cluster] = &clientcmdapi.Cluster{Server: o.Server, CertificateAuthorityData: o.CAPEM}
	cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: execAPIVersion,
		Command:    command,
		Args:       args,
		Env:        clientEnv(o),
		// A client may ask for an MFA code, where there is somebody to ask.
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		InstallHint:     o.InstallHint,
	}}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: o.Cluster, AuthInfo: name}
	cfg.CurrentContext = name
	return cfg, nil
}

func clientArgs(o UserOptions) ([]string, error) {
	if o.ClusterID == "" {
		return nil, errors.New("no cluster ID")
	}
	if o.JWT && o.Client != ClientCapiam {
		return nil, fmt.Errorf("client %s makes no JWTs, %s does", o.Client, ClientCapiam)
	}
	switch o.Client {
	case ClientCapiam, ClientAWSIAMAuthenticator:
		args := []string{"token", "-i", o.ClusterID}
		if o.JWT {
			args = append(args, "--jwt")
			if o.Audience != "" && o.Audience != o.ClusterID {
				args = append(args, "--audience", o.Audience)
			}
		}
		return args, nil
	case ClientAWS:
		// A user whose profile says output = table would get a table.
		args := []string{"eks", "get-token", "--cluster-name", o.ClusterID}
		if o.Region != "" {
			args = append(args, "--region", o.Region)
		}
		return append(args, "--output", "json"), nil
	}
	return nil, fmt.Errorf("unknown client %q, it should be one of %s, %s, %s",
		o.Client, ClientAWSIAMAuthenticator, ClientAWS, ClientCapiam)
}

func clientEnv(o UserOptions) []clientcmdapi.ExecEnvVar {
	var env []clientcmdapi.ExecEnvVar
	set := func(name, value string) {
		i := slices.IndexFunc(env, func(e clientcmdapi.ExecEnvVar) bool { return e.Name == name })
		if i >= 0 {
			env[i].Value = value
			return
		}
		env = append(env, clientcmdapi.ExecEnvVar{Name: name, Value: value})
	}
	if o.Region != "" {
		set("AWS_REGION", o.Region)
	}
	// Older SDKs would go to the global endpoint, which gives out neither JWTs
	// nor answers in any partition but aws.
	set("AWS_STS_REGIONAL_ENDPOINTS", "regional")
	for _, e := range o.Env {
		set(e.Name, e.Value)
	}
	return env
}
