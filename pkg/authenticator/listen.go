package authenticator

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// loadTime is how long a server that shares its port may take to load mappings
// before it listens all the same: there may be nobody to share it with.
const loadTime = 10 * time.Second

// listenWebhook listens for the API server. A server that shares its port does so
// once it can judge logins: from then on some of them come here.
func (s *Server) listenWebhook(ctx context.Context) (net.Listener, error) {
	set := &s.opts.Settings
	if set.SharePort {
		s.awaitLoaded(ctx)
	}
	l, err := listen(ctx, s.listenConfig(), set.Address, set.Port)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	s.listening.Store(true)
	return l, nil
}

// listenConfig is for both ports.
func (s *Server) listenConfig() net.ListenConfig {
	if s.opts.Settings.SharePort {
		return net.ListenConfig{Control: sharePort}
	}
	return net.ListenConfig{}
}

// awaitLoaded waits until every backend has mappings in force, ctx ends or
// loadTime is over.
func (s *Server) awaitLoaded(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-s.store.Loaded():
	}
}

func listen(ctx context.Context, config net.ListenConfig, address string, port int) (net.Listener, error) {
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	return l, nil
}
