package install

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// getter gives Helm the Installer's cluster. Helm's own would look for a
// kubeconfig file.
type getter struct {
	i         *Installer
	namespace string
}

func (g getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.i.config), nil }

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.i.discovery, nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.i.mapper, nil }

// ToRawKubeConfigLoader is only asked for the namespace.
func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{
		Context:     clientcmdapi.Context{Namespace: g.namespace},
		ClusterInfo: clientcmdapi.Cluster{Server: g.i.config.Host},
	}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
