package authenticator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	// loadTime is how long a server that shares its port may take to load
	// mappings before it listens all the same, if nobody else does.
	loadTime = 10 * time.Second
	// portPoll is how often a server that waits for a port asks for it.
	portPoll = 100 * time.Millisecond
	// takeOverTime is how long it may wait for one and call itself ready.
	takeOverTime = time.Minute
)

// listeners are what a server listens on; nil where it does not, or waits.
type listeners struct {
	webhook, health, socket net.Listener
}

// openListeners opens what need not be waited for. A server on its own says at
// once if a port is taken. One that shares its ports first gets all ready that a
// login needs.
func (s *Server) openListeners(ctx context.Context) (*listeners, error) {
	set := &s.opts.Settings
	l := &listeners{}
	var err error
	if !set.SharePort {
		if l.webhook, err = s.listenWebhook(ctx); err != nil {
			return nil, err
		}
	}
	if s.opts.UntilReady != "" {
		return l, nil
	}
	if set.HealthSocket != "" {
		if l.socket, err = listenSocket(ctx, set.HealthSocket); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	if l.health, err = s.tryListen(ctx, set.HealthAddress, set.HealthPort); err != nil && !s.waitsAfter(err) {
		return nil, errors.Join(fmt.Errorf("health: %w", err), l.close())
	}
	return l, nil
}

func (l *listeners) close() error {
	var problems []error
	for _, one := range []net.Listener{l.webhook, l.health, l.socket} {
		if one != nil {
			problems = append(problems, one.Close())
		}
	}
	return errors.Join(problems...)
}

// listenWebhook listens for the API server. A server that shares its port does so
// once it can judge logins: from then on some of them come here.
func (s *Server) listenWebhook(ctx context.Context) (net.Listener, error) {
	set := &s.opts.Settings
	if set.SharePort {
		s.awaitLoaded(ctx)
		s.waiting.Store(time.Now().UnixNano())
	}
	l, err := s.listen(ctx, set.Address, set.Port)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	s.listening.Store(true)
	return l, nil
}

// awaitLoaded waits until every backend has mappings in force, or ctx ends. After
// loadTime, it is enough that nobody else listens: an answer with a reason is
// better than none.
func (s *Server) awaitLoaded(ctx context.Context) {
	wait := time.NewTimer(loadTime)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.store.Loaded():
			return
		case <-wait.C:
		}
		alone, err := listenOn(ctx, net.ListenConfig{}, s.opts.Settings.Address, s.opts.Settings.Port)
		if err == nil {
			_ = alone.Close()
			return
		}
		wait.Reset(time.Second)
	}
}

// takesOver tells whether all that is missing is a port that somebody has for
// himself: aws-iam-authenticator, say, whose pod ends once this one is ready. It
// does not go on being said of a port that does not come free.
func (s *Server) takesOver() bool {
	since := s.waiting.Load()
	return !s.listening.Load() && since != 0 && time.Since(time.Unix(0, since)) < takeOverTime
}

// listen listens on a port. Where ports are shared, one that somebody has for
// himself is waited for.
func (s *Server) listen(ctx context.Context, address string, port int) (net.Listener, error) {
	var said time.Time
	for {
		l, err := s.tryListen(ctx, address, port)
		if err == nil || !s.waitsAfter(err) {
			return l, err
		}
		if time.Since(said) > takeOverTime {
			s.opts.Log.Warn("a port is taken by somebody who does not share it; waiting", "address", address, "port", port)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(portPoll):
		}
	}
}

// waitsAfter tells whether the port is waited for after such an error.
func (s *Server) waitsAfter(err error) bool {
	return s.opts.Settings.SharePort && errors.Is(err, syscall.EADDRINUSE)
}

func (s *Server) tryListen(ctx context.Context, address string, port int) (net.Listener, error) {
	config := net.ListenConfig{}
	if s.opts.Settings.SharePort {
		config.Control = sharePort
	}
	return listenOn(ctx, config, address, port)
}

func listenOn(ctx context.Context, config net.ListenConfig, address string, port int) (net.Listener, error) {
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	return l, nil
}

// listenSocket listens on a unix socket, which a server before this one may have
// left behind.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("health: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("health: cannot listen: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // by then the file may be the next server's
	}
	return l, nil
}
