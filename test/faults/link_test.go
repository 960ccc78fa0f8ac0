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
	t       *testing.T
	addr    string
	target  string
	running sync.WaitGroup

	mu       sync.Mutex
	state    linkState
	listener net.Listener // nil while connections are refused
	pairs    map[*pair]bool
}

type linkState int

const (
	linkUp      linkState = iota
	linkCut               // connections are closed at once, as by a load balancer
	linkRefused           // there is nobody to connect to
	linkSilent            // connections are accepted, and nothing is ever heard
)

// pair is a connection and its continuation.
type pair struct {
	near, far net.Conn
	silent    atomic.Bool
}

// newLink returns a link to an address.
func newLink(t *testing.T, target string) *link {
	t.Helper()
	l := &link{t: t, addr: "127.0.0.1:0", target: target, pairs: map[*pair]bool{}}
	l.open()
	l.addr = l.listener.Addr().String()
	t.Cleanup(func() {
		l.set(linkRefused)
		l.running.Wait()
	})
	return l
}

// open starts listening.
func (l *link) open() {
	listener, err := net.Listen("tcp4", l.addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	l.listener = listener
	l.running.Go(func() { l.accept(listener) })
}

// set changes the link's state. What was open is closed or silent for ever:
// when the link is up again, only new connections work.
func (l *link) set(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	if state == linkRefused && l.listener != nil {
		l.listener.Close()
		l.listener = nil
	}
	if state != linkRefused && l.listener == nil {
		l.open()
	}
	for p := range l.pairs {
		switch state {
		case linkCut, linkRefused:
			p.close()
		case linkSilent:
			p.silent.Store(true)
		}
	}
}

func (l *link) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p := &pair{near: conn}
		l.mu.Lock()
		switch l.state {
		case linkCut, linkRefused:
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
