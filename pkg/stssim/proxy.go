package stssim

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Proxy is an HTTP proxy that reaches the simulated names and nothing else. It
// makes no connection itself: what a client tunnels to a simulated name ends at
// the Server, in this process.
type Proxy struct {
	addr  net.Addr
	close func() error
}

// ListenProxy runs a Proxy on a loopback address, such as "127.0.0.1:0", until
// the context ends or Close is called. Any other address is refused.
func ListenProxy(ctx context.Context, s *Server, addr string) (*Proxy, error) {
	ln, err := listenLoopback(ctx, addr)
	if err != nil {
		return nil, err
	}
	tunnels := newTunnels(ln.Addr())
	inner := s.httpServer()
	outer := &http.Server{
		Handler:           &connectHandler{server: s, tunnels: tunnels},
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var running sync.WaitGroup
	running.Go(func() { _ = inner.ServeTLS(tunnels, "", "") })
	running.Go(func() { _ = outer.Serve(ln) })
	return &Proxy{
		addr:  ln.Addr(),
		close: closer(ctx, &running, outer, inner),
	}, nil
}

// Addr returns the address listened on.
func (p *Proxy) Addr() net.Addr { return p.addr }

// URL returns what HTTPS_PROXY is to be set to.
func (p *Proxy) URL() string { return "http://" + p.addr.String() }

// Close stops serving and waits until everything has ended.
func (p *Proxy) Close() error { return p.close() }

// connectHandler answers CONNECT.
type connectHandler struct {
	server  *Server
	tunnels *tunnels
}

func (h *connectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "This proxy reaches only the simulated AWS STS, by HTTPS.", http.StatusForbidden)
		return
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" || !h.server.serves(host) {
		http.Error(w, fmt.Sprintf("This proxy reaches only the simulated AWS STS and its token issuers, on port 443; it refuses %q.", r.Host), http.StatusForbidden)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "CONNECT needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	h.tunnels.push(&tunnel{Conn: conn, reader: buffered.Reader})
}

// tunnel is a connection of which the first bytes may have been read already.
type tunnel struct {
	net.Conn
	reader *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.reader.Read(p) }

// tunnels is a net.Listener of the connections that CONNECT hands over.
type tunnels struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newTunnels(addr net.Addr) *tunnels {
	return &tunnels{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// push hands a connection to whoever accepts.
func (t *tunnels) push(conn net.Conn) {
	select {
	case t.conns <- conn:
	case <-t.closed:
		_ = conn.Close()
	}
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-t.conns:
		return conn, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *tunnels) Addr() net.Addr { return t.addr }
