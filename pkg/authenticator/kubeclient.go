package authenticator

import (
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

// lazyClient makes the client of the API server when the first backend needs
// one. It is the dynamic client: the typed one registers every API group there
// is, which costs more memory than all the rest of the server.
type lazyClient struct {
	settings *config.Settings
	client   dynamic.Interface
	events   *backend.Events
}

func (l *lazyClient) get() (dynamic.Interface, error) {
	if l.client != nil {
		return l.client, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags(l.settings.Master, l.settings.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("no way to the API server (give --kubeconfig, or run in a pod): %w", err)
	}
	cfg.UserAgent = "capiam-authenticator"
	cfg.Timeout = 0 // a watch has none
	cfg.QPS, cfg.Burst = 20, 40
	if l.client, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, fmt.Errorf("client of the API server at %s: %w", cfg.Host, err)
	}
	return l.client, nil
}
