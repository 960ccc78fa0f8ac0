package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capiam/capiam/pkg/stssim"
)

// latency is how far away the simulated STS is.
type latency struct {
	// Answer is how long each answer takes.
	Answer time.Duration `json:"answer"`
	// Network makes everything that needs a round trip take as long: opening a
	// connection and its TLS handshake, besides the answer.
	Network bool `json:"network"`
}

// stsCounts are what the simulated STS has done so far.
type stsCounts struct {
	Calls      int64 `json:"calls"`
	Handshakes int64 `json:"handshakes"`
}

// front is the simulated STS behind an HTTP proxy, made to cost little beside
// the authenticators: pkg/stssim verifies each signature in full the first time
// it comes, and its answer is repeated for the same request after that.
type front struct {
	sts     http.Handler
	config  *tls.Config
	latency atomic.Pointer[latency]
	calls   atomic.Int64
	shakes  atomic.Int64

	mu      sync.RWMutex
	answers map[string][]byte
}

// stsMain is the process of the simulated STS. It listens on two proxies, one
// for each version of HTTP, says where, and obeys standard input until that
// ends.
func stsMain(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	state, err := stssim.Load(filepath.Join(dir, "sts.json"), nil)
	if err != nil {
		return err
	}
	leaf, err := tls.LoadX509KeyPair(filepath.Join(dir, "sts.pem"), filepath.Join(dir, "sts.key"))
	if err != nil {
		return err
	}
	f := &front{
		sts:     stssim.New(state, stssim.Options{}),
		config:  &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		answers: map[string][]byte{},
	}
	f.latency.Store(&latency{})
	var addrs []string
	for _, serve := range []func(net.Conn){f.serve1, f.serve2} {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
		go f.accept(ln, serve)
	}
	return talk(in, out, addrs, func(order latency) (any, error) {
		if order.Answer >= 0 {
			f.latency.Store(&order)
		}
		return stsCounts{f.calls.Load(), f.shakes.Load()}, nil
	})
}

// accept takes what the authenticators open until the listener closes. What is
// still open then ends with the process.
func (f *front) accept(ln net.Listener, serve func(net.Conn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// tunnel answers CONNECT and makes the TLS handshake.
func (f *front) tunnel(conn net.Conn, config *tls.Config) *tls.Conn {
	reader := bufio.NewReader(conn)
	req, err := http.ReadRequest(reader)
	if err != nil || req.Method != http.MethodConnect || reader.Buffered() > 0 {
		return nil
	}
	f.trip(false)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return nil
	}
	secure := tls.Server(conn, config)
	f.trip(false)
	if secure.Handshake() != nil { //nolint:noctx // ends with the connection
		return nil
	}
	f.shakes.Add(1)
	return secure
}

// trip waits for a round trip.
func (f *front) trip(answer bool) {
	if l := f.latency.Load(); l.Answer > 0 && (answer || l.Network) {
		time.Sleep(l.Answer)
	}
}

// serve1 speaks HTTP/1.1, as AWS does.
func (f *front) serve1(conn net.Conn) {
	secure := f.tunnel(conn, f.config)
	if secure == nil {
		return
	}
	reader := bufio.NewReaderSize(secure, 16<<10)
	for {
		head, err := readHead(reader)
		if err != nil {
			return
		}
		answer, err := f.answer(head)
		if err != nil {
			return
		}
		_, err = reader.Discard(len(head))
		if err != nil {
			return
		}
		f.calls.Add(1)
		f.trip(true)
		if _, err := secure.Write(answer); err != nil {
			return
		}
	}
}

// readHead returns a request without a body as it lies in the reader.
func readHead(r *bufio.Reader) ([]byte, error) {
	for n := 1; ; n = r.Buffered() + 1 {
		if _, err := r.Peek(n); err != nil {
			return nil, err
		}
		b, err := r.Peek(r.Buffered())
		if err != nil {
			return nil, err
		}
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			return b[:i+4], nil
		}
	}
}

// answer returns the answer to a request, from stssim or from before.
func (f *front) answer(head []byte) ([]byte, error) {
	f.mu.RLock()
	known := f.answers[string(head)]
	f.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	f.sts.ServeHTTP(rec, req)
	var b bytes.Buffer
	resp := rec.Result()
	resp.ContentLength = int64(rec.Body.Len())
	if err := resp.Write(&b); err != nil {
		return nil, err
	}
	if rec.Code == http.StatusOK {
		f.mu.Lock()
		f.answers[string(head)] = b.Bytes()
		f.mu.Unlock()
	}
	return b.Bytes(), nil
}

// serve2 speaks HTTP/2.
func (f *front) serve2(conn net.Conn) {
	config := f.config.Clone()
	config.NextProtos = []string{"h2"}
	secure := f.tunnel(conn, config)
	if secure == nil {
		return
	}
	ended := make(chan struct{})
	server := http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer, err := f.answer2(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			f.calls.Add(1)
			f.trip(true)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
		}),
	}
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(ended)
		}
	}
	_ = server.Serve(&oneConn{conn: secure, ended: ended})
}

// answer2 returns the body of a good answer, from stssim or from before.
func (f *front) answer2(r *http.Request) ([]byte, error) {
	key := r.URL.RawQuery
	f.mu.RLock()
	known := f.answers[key]
	f.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	rec := httptest.NewRecorder()
	f.sts.ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		return nil, fmt.Errorf("simulated STS: %s", rec.Result().Status)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key] = rec.Body.Bytes()
	return f.answers[key], nil
}

// oneConn is a listener of one connection.
type oneConn struct {
	conn  net.Conn
	taken bool
	ended chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.conn, nil
	}
	<-l.ended
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// stsProcess is the simulated STS, seen from the benchmark.
type stsProcess struct{ *child }

func startSTS(ctx context.Context, w *world) (*stsProcess, error) {
	c, err := startChild(ctx, nil, "sts", w.dir)
	if err != nil {
		return nil, fmt.Errorf("start the simulated STS: %w", err)
	}
	return &stsProcess{c}, nil
}

// setLatency moves the simulated STS.
func (p *stsProcess) setLatency(l latency) error {
	return p.ask(l, &stsCounts{})
}

func (p *stsProcess) counts() (stsCounts, error) {
	var c stsCounts
	err := p.ask(latency{Answer: -1}, &c)
	return c, err
}

var errEnded = errors.New("the process has ended")
