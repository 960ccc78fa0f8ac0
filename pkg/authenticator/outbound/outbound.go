// Package outbound is how the authenticator reaches STS, token issuers and EC2:
// over HTTPS, through the proxy that the environment names (HTTPS_PROXY,
// NO_PROXY), trusting the machine's certificate authorities (or SSL_CERT_FILE).
// A program that holds the authenticator within itself may say otherwise.
package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Network says how connections are made. The zero Network is the machine's.
type Network struct {
	// Proxy finds a request's proxy; nil asks the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial makes a connection; nil is a plain one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS holds other certificate authorities, say; nil is the default.
	TLS *tls.Config
}

// Transport returns a transport that keeps and makes at most so many
// connections to one host.
func (n Network) Transport(conns int) *http.Transport {
	t := &http.Transport{
		Proxy:                  n.Proxy,
		DialContext:            n.Dial,
		TLSClientConfig:        n.TLS.Clone(),
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2 * conns,
		MaxIdleConnsPerHost:    conns,
		MaxConnsPerHost:        conns,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
		DisableCompression:     true, // answers are smaller than a packet
	}
	if t.Proxy == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return t
}
