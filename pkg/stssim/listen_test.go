package stssim

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	server := New(newTestState(t), Options{})
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "localhost:0", "example.com:0", "127.0.0.1"} {
		if l, err := Listen(t.Context(), server, addr); err == nil {
			t.Errorf("Listen(%q) works", addr)
			_ = l.Close()
		}
		if p, err := ListenProxy(t.Context(), server, addr); err == nil {
			t.Errorf("ListenProxy(%q) works", addr)
			_ = p.Close()
		}
	}
}

func TestListenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := New(newTestState(t), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	l, err := Listen(ctx, server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ListenProxy(ctx, server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	// Close waits for what the context has begun.
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, addr := range []net.Addr{l.Addr(), p.Addr()} {
		if conn, err := net.Dial("tcp", addr.String()); err == nil {
			t.Errorf("%s still listens", addr)
			_ = conn.Close()
		}
	}
}

func TestListenServesEveryName(t *testing.T) {
	t.Parallel()
	state := newTestState(t)
	state.IssuerURL(account)
	server := New(state, Options{})
	l, err := Listen(t.Context(), server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(state.CAPEM())
	names := server.Names()
	if len(names) < 100 || !slices.Contains(names, "sts.amazonaws.com") {
		t.Fatalf("%d names", len(names))
	}
	for _, name := range names {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		state := conn.ConnectionState()
		if state.NegotiatedProtocol != "h2" {
			t.Errorf("%s: protocol %q, want h2", name, state.NegotiatedProtocol)
		}
		if got := state.PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != name {
			t.Errorf("%s: certificate for %v", name, got)
		}
		_ = conn.Close()
	}
	for _, name := range []string{"example.com", "evil.tokens.sts.global.api.aws", "sts.cn-north-1.amazonaws.com.cn", ""} {
		if conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: name}); err == nil {
			t.Errorf("%q got a certificate", name)
			_ = conn.Close()
		}
	}
}

// TestCAIsRestricted makes certificates the CA must not vouch for.
func TestCAIsRestricted(t *testing.T) {
	t.Parallel()
	state := newTestState(t)
	block, _ := pem.Decode(state.CAPEM())
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.PermittedDNSDomainsCritical || !ca.IsCA || !ca.MaxPathLenZero {
		t.Error("the CA is not restricted critically")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for name, ok := range map[string]bool{
		regionHost:                        true,
		"sts.amazonaws.com":               true,
		"a.tokens.sts.global.api.aws":     true,
		"amazonaws.com":                   false,
		"s3.eu-central-1.amazonaws.com":   false,
		"sts.cn-north-1.amazonaws.com.cn": false,
		"api.aws":                         false,
		"example.com":                     false,
		"kubernetes.default.svc":          false,
	} {
		leaf, err := state.authority().issue(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if (err == nil) != ok {
			t.Errorf("%s: %v, want accepted: %t", name, err, ok)
		}
	}
}

func TestProxyRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(request string) (int, string) {
		t.Helper()
		conn, err := net.DialTimeout("tcp", w.proxy.Addr().String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, request)
		res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "CONNECT"})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return res.StatusCode, string(body)
	}
	for _, target := range []string{
		"example.com:443", "sts.eu-central-1.amazonaws.com:80", "s3.amazonaws.com:443", "127.0.0.1:443", "169.254.169.254:80",
		"sts.eu-central-1.amazonaws.com.:443", "STS.eu-central-1.amazonaws.com:443", "x.tokens.sts.global.api.aws:443",
	} {
		status, _ := ask("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
		if status != http.StatusForbidden {
			t.Errorf("CONNECT %s: %d, want 403", target, status)
		}
	}
	for _, request := range []string{"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		if status, _ := ask(request); status != http.StatusForbidden {
			t.Errorf("%q: %d, want 403", request, status)
		}
	}
	_, err := w.client.Get("https://example.com/")
	if err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("through the proxy: %v, want Forbidden", err)
	}
}
