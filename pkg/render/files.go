package render

import (
	"io/fs"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/templates"
)

// WebhookFile is where the API servers' webhook kubeconfig stands among Files.
const WebhookFile = "aws-iam-authenticator/kubeconfig.yaml"

// File is a file to be written.
type File struct {
	// Path is relative to the cluster's directory, with slashes.
	Path string
	Mode fs.FileMode
	Data []byte
}

func renderFiles(in Input) ([]File, error) {
	var files []File
	add := func(path string, cfg *clientcmdapi.Config) error {
		data, err := kubeconfig.Encode(cfg)
		if err != nil {
			return err
		}
		files = append(files, File{Path: path, Mode: atomicfile.Private, Data: data})
		return nil
	}
	if in.APIServer.URL != "" {
		user, err := userKubeconfig(in)
		if err != nil {
			return nil, err
		}
		if err := add(kubeconfig.UserFile(in.Spec.Name), user); err != nil {
			return nil, err
		}
	}
	if in.APIServer.URL != "" && len(in.Admin.KeyPEM) > 0 {
		admin := kubeconfig.Admin(kubeconfig.AdminOptions{
			Cluster: in.Spec.Name,
			Server:  in.APIServer.URL,
			CAPEM:   in.APIServer.CAPEM,
			CertPEM: in.Admin.CertPEM,
			KeyPEM:  in.Admin.KeyPEM,
		})
		if err := add(kubeconfig.AdminFile(in.Spec.Name), admin); err != nil {
			return nil, err
		}
	}
	if err := add(WebhookFile, kubeconfig.Webhook(in.Webhook.URL, in.Webhook.CAPEM)); err != nil {
		return nil, err
	}
	return files, nil
}

func userKubeconfig(in Input) (*clientcmdapi.Config, error) {
	s := &in.Spec.IAM.Spec
	hint := in.Client.InstallHint
	if hint == "" {
		uri, err := downloadURI(in.Release, in.Spec)
		if err != nil {
			return nil, err
		}
		hint, err = templates.InstallHint(templates.InstallHintData{Client: s.Client.Command, Cluster: in.Spec.Name, URI: uri})
		if err != nil {
			return nil, err
		}
	}
	return kubeconfig.User(kubeconfig.UserOptions{
		Cluster:     in.Spec.Name,
		Server:      in.APIServer.URL,
		CAPEM:       in.APIServer.CAPEM,
		Client:      s.Client.Command,
		Command:     in.Client.Command,
		ClusterID:   in.ClusterID,
		Region:      s.AWSRegion,
		JWT:         !s.TakesPresigned(),
		Audience:    s.TokenAudience(in.ClusterID),
		Env:         in.Client.Env,
		InstallHint: hint,
	})
}
