package stssim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// tlsConfig serves each simulated name with a certificate of its own.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.certificate,
		// Called at the end of every handshake, resumed ones too.
		VerifyConnection: func(tls.ConnectionState) error {
			s.counts.connection()
			return nil
		},
	}
}

// certificate returns the certificate for the name a client asks for. They are
// made at the first use and kept: one is cheap, all at once are not.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" {
		return nil, errors.New("the client does not say which name it wants")
	}
	if !s.serves(name) {
		return nil, fmt.Errorf("%q is not a simulated name", name)
	}
	s.leafMu.Lock()
	defer s.leafMu.Unlock()
	ca := s.state.authority()
	if s.leafCA != ca {
		s.leafCA, s.leaves = ca, map[string]*tls.Certificate{}
	}
	if leaf, ok := s.leaves[name]; ok {
		return leaf, nil
	}
	leaf, err := ca.issue(name)
	if err != nil {
		return nil, err
	}
	s.leaves[name] = leaf
	return leaf, nil
}

// authority returns the State's CA.
func (s *State) authority() *authority {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ca
}

// httpServer returns the server of the TLS side, for a Listener to run.
func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s,
		TLSConfig:         s.tlsConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
