package stsclient

import (
	"sync"
	"time"
)

const (
	// maxToHost bounds the calls to one host that are under way, and maxToSilent
	// those to all hosts together from which nothing has come within
	// silentAfter. The webhook judges 1,024 logins at once: however many tokens
	// name an endpoint that does not answer, the others have the better part of
	// those places. A few calls to a host may always begin, so that one which
	// nobody has called for a while can show that it answers.
	maxToHost   = 512
	maxToSilent = 384
	always      = 4
	silentAfter = time.Minute
)

// gate counts the calls under way.
type gate struct {
	mu       sync.Mutex
	underWay map[string]int
	answered map[string]time.Time
	toSilent int
}

func newGate() *gate {
	return &gate{underWay: map[string]int{}, answered: map[string]time.Time{}}
}

// enter lets a call to a host begin, or not. Hosts are those of a partition, or
// the one endpoint, so there are never many. What it returns ends the call, and
// is told whether anything has come back.
func (g *gate) enter(host string, now time.Time) (end func(now time.Time, answered bool), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	silent := now.Sub(g.answered[host]) > silentAfter
	if g.underWay[host] >= maxToHost || silent && g.toSilent >= maxToSilent && g.underWay[host] >= always {
		return nil, false
	}
	g.underWay[host]++
	if silent {
		g.toSilent++
	}
	return func(now time.Time, answered bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.underWay[host]--
		if silent {
			g.toSilent--
		}
		if answered {
			g.answered[host] = now
		}
	}, true
}
