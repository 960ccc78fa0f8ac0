package faults_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// link is the network between the authenticator and the API server. It can be
// cut, or fall silent.
type link struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	state linkState
	pairs map[*pair]bool
}

type linkState int

const (
	linkUp     linkState = iota
	linkCut              // connections are closed at once
	linkSilent           // connections are accepted, and nothing is ever heard
)

// pair is a connection and its continuation.
type pair struct {
	near, far net.Conn
	silent    atomic.Bool
}

// newLink returns a link to an address.
func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: target, pairs: map[*pair]bool{}}
	l.running.Go(l.accept)
	t.Cleanup(func() {
		listener.Close()
		l.set(linkCut)
		l.running.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

// set changes the link's state. What was open is closed or silent for ever:
// when the link is up again, only new connections work.
func (l *link) set(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	for p := range l.pairs {
		switch state {
		case linkCut:
			p.close()
		case linkSilent:
			p.silent.Store(true)
		}
	}
}

func (l *link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		p := &pair{near: conn}
		l.mu.Lock()
		switch l.state {
		case linkCut:
			l.mu.Unlock()
			conn.Close()
			continue
		case linkSilent:
			p.silent.Store(true)
		}
		if p.far, err = net.Dial("tcp4", l.target); err != nil {
			l.mu.Unlock()
			conn.Close()
			continue
		}
		l.pairs[p] = true
		l.mu.Unlock()
		l.running.Go(func() { l.carry(p) })
	}
}

// carry copies both ways until either side ends.
func (l *link) carry(p *pair) {
	var both sync.WaitGroup
	both.Go(func() { p.copy(p.near, p.far) })
	both.Go(func() { p.copy(p.far, p.near) })
	both.Wait()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}

func (p *pair) copy(to, from net.Conn) {
	defer p.close()
	_, _ = io.Copy(&mouth{p, to}, from)
}

func (p *pair) close() {
	p.near.Close()
	p.far.Close()
}

// mouth is a connection's writing side; a silent one says nothing.
type mouth struct {
	pair *pair
	conn net.Conn
}

func (m *mouth) Write(b []byte) (int, error) {
	if m.pair.silent.Load() {
		return len(b), nil
	}
	return m.conn.Write(b)
}
