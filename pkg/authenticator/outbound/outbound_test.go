package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswersSoon(t *testing.T) {
	t.Parallel()
	var other net.Conn
	dial := answersSoon(func(context.Context, string, string) (net.Conn, error) {
		var conn net.Conn
		conn, other = net.Pipe()
		return conn, nil
	}, 20*time.Millisecond)

	silent, err := dial(t.Context(), "tcp", "x:1")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	defer other.Close()
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody who says nothing: %v", err)
	}

	dial = answersSoon(func(context.Context, string, string) (net.Conn, error) {
		var conn net.Conn
		conn, other = net.Pipe()
		return conn, nil
	}, 20*time.Second)
	conn, err := dial(t.Context(), "tcp", "x:1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	inner := conn.(*opening)
	watched := &deadlines{Conn: inner.Conn}
	inner.Conn = watched
	go func() {
		_, _ = other.Write([]byte("ab"))
		_ = other.Close()
	}()
	for range 2 {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
	if len(watched.set) != 1 || !watched.set[0].IsZero() {
		t.Errorf("deadlines %v, want it cleared once", watched.set)
	}
}

// deadlines notes what deadlines are set.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return d.Conn.SetReadDeadline(t)
}

// TestDeadHTTP2ConnectionIsLeft cuts a connection in silence: what is asked over
// it fails by itself, and what comes after goes over another.
func TestDeadHTTP2ConnectionIsLeft(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	var made atomic.Pointer[cuttable]
	transport := Network{
		TLS: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
			c := &cuttable{Conn: conn}
			made.Store(c)
			return c, err
		},
	}.Transport(4)
	defer transport.CloseIdleConnections()
	get := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://sts.example.com/", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "HTTP/2.0" {
			return fmt.Errorf("got %s, %w", body, err)
		}
		return nil
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	first := made.Load()
	first.cut.Store(true)
	if err := get(); err == nil {
		t.Error("an answer over a dead connection")
	}
	if err := get(); err != nil || made.Load() == first {
		t.Errorf("over another connection: %v", err)
	}
}

// cuttable is a connection that can be cut, with nobody told.
type cuttable struct {
	net.Conn
	cut atomic.Bool
}

func (c *cuttable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
