package authenticator

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

// dialTimeout is how long a connection to the API server may take to come about.
// It is short because on a new node there is no way to the API server's service
// until kube-proxy has made one: a first packet is lost, and the kernel sends the
// next ones 1, 3 and 7 seconds later. Whoever gives up and dials anew is let
// through within a second or two, and so are the people who log in there.
const dialTimeout = 1200 * time.Millisecond

// lazyClient makes the clients of the API server when the first backend needs
// them. They are the dynamic one and one for ConfigMaps alone: the typed clientset
// registers every API group there is, which costs more memory than all the rest
// of the server.
type lazyClient struct {
	settings *config.Settings
	// direct goes through no proxy but the kubeconfig's own: a static pod is told
	// no address of the API server that NO_PROXY could have.
	direct     bool
	client     dynamic.Interface
	configMaps *backend.ConfigMapClient
	// events is there once connected is closed.
	events    *backend.Events
	connected chan struct{}
	instance  string
	log       *slog.Logger
}

// runEvents writes events until ctx ends, if there ever is a backend that has any.
func (l *lazyClient) runEvents(ctx context.Context) {
	select {
	case <-l.connected:
		l.events.Run(ctx)
	case <-ctx.Done():
	}
}

// connect makes the clients, which share their connections.
func (l *lazyClient) connect() error {
	if l.client != nil {
		return nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags(l.settings.Master, l.settings.Kubeconfig)
	if err != nil {
		return fmt.Errorf("no way to the API server (give --kubeconfig, or run in a pod): %w", err)
	}
	if l.direct && cfg.Proxy == nil {
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	cfg.UserAgent = "capiam-authenticator"
	cfg.Timeout = 0 // a watch has none
	cfg.QPS, cfg.Burst = 20, 40
	cfg.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	client, err := rest.HTTPClientFor(cfg)
	if err == nil {
		l.configMaps, err = backend.NewConfigMapClient(cfg, client)
	}
	if err == nil {
		l.client, err = dynamic.NewForConfigAndClient(cfg, client)
	}
	if err != nil {
		return fmt.Errorf("client of the API server at %s: %w", cfg.Host, err)
	}
	l.events = backend.NewEvents(l.client, l.instance, l.log, nil)
	close(l.connected)
	return nil
}
