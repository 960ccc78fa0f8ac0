package authenticator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// loadTime is how long a server that shares its port may take to load mappings
// before it listens all the same: there may be nobody to share it with.
const loadTime = 10 * time.Second

// portPoll is how often a server that waits for a port asks for it.
const portPoll = 100 * time.Millisecond

// listenWebhook listens for the API server. A server that shares its port does so
// once it can judge logins: from then on some of them come here.
func (s *Server) listenWebhook(ctx context.Context) (net.Listener, error) {
	set := &s.opts.Settings
	if set.SharePort {
		s.awaitLoaded(ctx)
	}
	l, err := s.listen(ctx, set.Address, set.Port)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	s.listening.Store(true)
	return l, nil
}

// listenHealth listens for the kubelet and those who gather metrics.
func (s *Server) listenHealth(ctx context.Context) (net.Listener, error) {
	l, err := s.listen(ctx, s.opts.Settings.HealthAddress, s.opts.Settings.HealthPort)
	if err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	return l, nil
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

// listen listens on a port. Where ports are shared, one that somebody has for
// himself is waited for: a DaemonSet that changes from aws-iam-authenticator to
// this server ends the old pod once the new one is there.
func (s *Server) listen(ctx context.Context, address string, port int) (net.Listener, error) {
	config := net.ListenConfig{}
	if s.opts.Settings.SharePort {
		config.Control = sharePort
	}
	for said := false; ; said = true {
		l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		err = fmt.Errorf("cannot listen: %w", err)
		if !s.opts.Settings.SharePort || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
		if !said {
			s.opts.Log.Warn("a port is taken by somebody who does not share it; waiting", "address", address, "port", port)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(portPoll):
		}
	}
}
