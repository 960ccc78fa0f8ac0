package authenticator

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// maxIdleConns is how many connections without a request the server keeps. An
// API server needs a handful; thousands are a client that wants to use up
// memory.
const maxIdleConns = 512

// idleConns closes the connection that has been idle longest when there are too
// many. Connections that have not sent a request yet count as idle, and go
// first: whoever only connects must not have the API server thrown out.
type idleConns struct {
	most int

	mu    sync.Mutex
	order *list.List // of idleConn, the longest idle first
	where map[net.Conn]*list.Element
}

type idleConn struct {
	net.Conn
	// served says that a request has come over it.
	served bool
}

func newIdleConns(most int) *idleConns {
	return &idleConns{most: most, order: list.New(), where: map[net.Conn]*list.Element{}}
}

// state is for http.Server.ConnState.
func (c *idleConns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.where[conn]; e != nil {
		c.order.Remove(e)
		delete(c.where, conn)
	}
	if s != http.StateNew && s != http.StateIdle {
		return
	}
	c.where[conn] = c.order.PushBack(idleConn{conn, s == http.StateIdle})
	for c.order.Len() > c.most {
		oldest := c.victim()
		victim := oldest.Value.(idleConn).Conn
		c.order.Remove(oldest)
		delete(c.where, victim)
		// Closing a TLS connection may wait for the other side's buffer.
		go victim.Close() //nolint:errcheck // it is being thrown out
	}
}

// victim is who is thrown out next.
func (c *idleConns) victim() *list.Element {
	for e := c.order.Front(); e != nil; e = e.Next() {
		if !e.Value.(idleConn).served {
			return e
		}
	}
	return c.order.Front()
}
