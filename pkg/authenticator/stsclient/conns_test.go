package stsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/iam"
)

// openConns counts connections.
type openConns struct {
	mu        sync.Mutex
	open, max int
	// full is called when there are maxConns.
	full func()
}

func (o *openConns) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open += n
	o.max = max(o.max, o.open)
	if o.open == maxConns {
		o.full()
	}
}

// countedConn is a connection that is counted until it is closed.
type countedConn struct {
	net.Conn
	closed func()
}

func (c countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestConnectionsAreBounded: however many calls there are at once, STS has 256
// connections at most; the other calls wait for one of them.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write([]byte(body("arn:aws:iam::111122223333:user/Alice", "111122223333", "AIDAX")))
	}))
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	full := make(chan struct{})
	conns := &openConns{full: sync.OnceFunc(func() { close(full) })}
	c, err := New(Options{ClusterID: "my-cluster", Partition: "aws", Network: outbound.Network{
		TLS: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conns.add(1)
			conn, err := (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
			if err != nil {
				conns.add(-1)
				return nil, err
			}
			return countedConn{conn, sync.OnceFunc(func() { conns.add(-1) })}, nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const calls = maxConns + 100
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			// On a machine that is very busy a call may come to its time limit:
			// what counts here are connections.
			_, _ = c.Identify(context.Background(), presigned.Token{Host: iam.STSHost{Name: "sts.eu-central-1.amazonaws.com"}, Query: "Action=GetCallerIdentity"})
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	select {
	case <-full:
	case <-ended:
	}
	close(release)
	<-ended
	conns.mu.Lock()
	defer conns.mu.Unlock()
	if conns.max > 256 {
		t.Errorf("%d connections at once", conns.max)
	}
	if conns.max < 2 {
		t.Errorf("%d connections at once: the calls waited for each other", conns.max)
	}
}
