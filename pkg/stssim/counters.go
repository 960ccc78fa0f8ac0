package stssim

import (
	"maps"
	"sync"
)

// Counters say what a Server has done since it was made.
type Counters struct {
	// Actions counts requests by action, whatever came of them: those of STS,
	// ActionDiscovery, ActionKeys and "Unknown".
	Actions map[string]int
	// Failures counts the errors answered, by code.
	Failures map[string]int
	// Faults counts the requests a fault answered.
	Faults int
	// Connections counts finished TLS handshakes.
	Connections int
}

type counterSet struct {
	mu sync.Mutex
	c  Counters
}

// Calls returns a copy of the counters.
func (s *Server) Calls() Counters {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	out := s.counts.c
	out.Actions = maps.Clone(out.Actions)
	out.Failures = maps.Clone(out.Failures)
	return out
}

func (c *counterSet) request(action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c.Actions == nil {
		c.c.Actions = map[string]int{}
	}
	c.c.Actions[action]++
}

func (c *counterSet) failure(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c.Failures == nil {
		c.c.Failures = map[string]int{}
	}
	c.c.Failures[code]++
}

func (c *counterSet) fault() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Faults++
}

func (c *counterSet) connection() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Connections++
}
