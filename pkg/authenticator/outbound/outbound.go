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
	"sync/atomic"
	"time"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	// firstByteTimeout is how long the other side may take to say anything at
	// all: a proxy, say, that takes connections and then hangs. net/http alone
	// gives it a minute for CONNECT, whatever the request's own limit, and
	// meanwhile the connection counts.
	firstByteTimeout = 10 * time.Second
	// pingAfter and pingTimeout find out that an HTTP/2 connection is dead: all
	// requests share it, and without an answer it would stay in use until TCP
	// gives up, a quarter of an hour later.
	pingAfter   = 3 * time.Second
	pingTimeout = 2 * time.Second
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
	dial := n.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	t := &http.Transport{
		Proxy:                  n.Proxy,
		DialContext:            answersSoon(dial, firstByteTimeout),
		TLSClientConfig:        n.TLS.Clone(),
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConns:           2 * conns,
		MaxIdleConnsPerHost:    conns,
		MaxConnsPerHost:        conns,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxResponseHeaderBytes: 32 << 10,
		DisableCompression:     true, // answers are smaller than a packet
	}
	if t.Proxy == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// answersSoon makes connections that fail if nothing has come over them in time.
func answersSoon(dial dialFunc, within time.Duration) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return &opening{Conn: conn}, nil
	}
}

// opening is a connection whose deadline ends with the first byte.
type opening struct {
	net.Conn
	answered atomic.Bool
}

func (c *opening) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.answered.Load() && c.answered.CompareAndSwap(false, true) {
		if cleared := c.SetReadDeadline(time.Time{}); err == nil {
			err = cleared
		}
	}
	return n, err
}
