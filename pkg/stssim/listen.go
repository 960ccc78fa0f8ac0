package stssim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdownGrace is how long requests under way may take when a Listener or a
// Proxy closes.
const shutdownGrace = time.Second

// Listener serves a Server with TLS on one address of this machine.
type Listener struct {
	addr  net.Addr
	close func() error
}

// Listen serves with TLS on a loopback address, such as "127.0.0.1:0", until
// the context ends or Close is called. Any other address is refused.
//
// Clients must reach the address under a simulated name, so this is for tests
// with a dialler of their own; everybody else uses ListenProxy.
func Listen(ctx context.Context, s *Server, addr string) (*Listener, error) {
	ln, err := listenLoopback(ctx, addr)
	if err != nil {
		return nil, err
	}
	server := s.httpServer()
	var running sync.WaitGroup
	running.Go(func() { _ = server.ServeTLS(ln, "", "") })
	return &Listener{
		addr:  ln.Addr(),
		close: closer(ctx, &running, server),
	}, nil
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops serving and waits until everything has ended.
func (l *Listener) Close() error { return l.close() }

// closer returns a function that shuts the servers down, in that order, and
// waits for what is running. It is called by itself when the context ends.
func closer(ctx context.Context, running *sync.WaitGroup, servers ...*http.Server) func() error {
	shutdown := sync.OnceValue(func() error {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		var errs []error
		for _, server := range servers {
			if server.Shutdown(grace) != nil {
				// Whoever is still there after the grace is cut off.
				errs = append(errs, server.Close())
			}
		}
		running.Wait()
		return errors.Join(errs...)
	})
	stop := context.AfterFunc(ctx, func() { _ = shutdown() })
	return func() error {
		stop()
		return shutdown()
	}
}

// listenLoopback listens on an address that only this machine reaches.
func listenLoopback(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("simulated STS: listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("simulated STS: listen address %q is not a loopback address: it would let others get credentials; use 127.0.0.1 or [::1]", addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("simulated STS: %w", err)
	}
	return ln, nil
}
