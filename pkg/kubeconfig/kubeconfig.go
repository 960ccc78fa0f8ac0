package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// Names in the webhook's kubeconfig. EKS Anywhere's control planes have them
// in their files already.
const (
	WebhookCluster = "aws-iam-authenticator"
	WebhookUser    = "apiserver"
	WebhookContext = "webhook"
)

// Webhook is what the API server's flag
// --authentication-token-webhook-config-file names: where the authenticator
// listens and which CA it shows. The API server sends no credential of its own.
func Webhook(serverURL string, caPEM []byte) *clientcmdapi.Config {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[WebhookCluster] = &clientcmdapi.Cluster{Server: serverURL, CertificateAuthorityData: caPEM}
	cfg.AuthInfos[WebhookUser] = clientcmdapi.NewAuthInfo()
	cfg.Contexts[WebhookContext] = &clientcmdapi.Context{Cluster: WebhookCluster, AuthInfo: WebhookUser}
	cfg.CurrentContext = WebhookContext
	return cfg
}

// AdminOptions are what Admin makes a kubeconfig from.
type AdminOptions struct {
	// Cluster is the cluster's name.
	Cluster string
	// Server is the API server's URL.
	Server string
	CAPEM  []byte
	// CertPEM and KeyPEM are the administrator's client certificate.
	CertPEM, KeyPEM []byte
}

// Admin is the kubeconfig of the administrator, who logs in with a client
// certificate and so also when IAM logins do not work.
func Admin(o AdminOptions) *clientcmdapi.Config {
	user := o.Cluster + "-admin"
	context := user + "@" + o.Cluster
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[o.Cluster] = &clientcmdapi.Cluster{Server: o.Server, CertificateAuthorityData: o.CAPEM}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: o.CertPEM, ClientKeyData: o.KeyPEM}
	cfg.Contexts[context] = &clientcmdapi.Context{Cluster: o.Cluster, AuthInfo: user}
	cfg.CurrentContext = context
	return cfg
}

// UserFile is the name of the file that holds a cluster's User kubeconfig, and
// AdminFile of the one that holds Admin's. Both stand in a directory named for
// the cluster.
func UserFile(cluster string) string { return cluster + "-aws.kubeconfig" }

// AdminFile is the name of the file that holds a cluster's Admin kubeconfig.
func AdminFile(cluster string) string { return cluster + "-eks-a-cluster.kubeconfig" }

// Encode is the kubeconfig's file. The same configuration always gives the same
// bytes.
func Encode(cfg *clientcmdapi.Config) ([]byte, error) {
	data, err := clientcmd.Write(*cfg)
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig: %w", err)
	}
	return data, nil
}

// WriteFile makes path hold the kubeconfig, readable by its owner alone, and
// reports whether that changed the file. On an error the old file is still
// there.
func WriteFile(path string, cfg *clientcmdapi.Config) (bool, error) {
	data, err := Encode(cfg)
	if err != nil {
		return false, err
	}
	return atomicfile.Write(path, data, atomicfile.Private)
}
