package stssim

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

// The faults. Each but FaultDelay takes the place of the answer.
const (
	// FaultDelay only makes the request wait.
	FaultDelay FaultKind = "delay"
	// FaultThrottle answers as STS does over its limits: 400, Throttling.
	FaultThrottle FaultKind = "throttle"
	// FaultStatus answers with Fault.Status and Fault.Body.
	FaultStatus FaultKind = "status"
	// FaultGarbage answers 200 with a body that is neither XML nor JSON.
	FaultGarbage FaultKind = "garbage"
	// FaultHuge answers 200 with a body of Fault.Size bytes.
	FaultHuge FaultKind = "huge"
	// FaultDrop ends the request without an answer: it closes the connection,
	// or the stream of an HTTP/2 one.
	FaultDrop FaultKind = "drop"
)

// Fault is something that goes wrong, and when.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Host and Action select requests; empty selects all. ActionKeys and
	// ActionDiscovery are the issuers' documents.
	Host   string `json:"host,omitempty"`
	Action string `json:"action,omitempty"`
	// Next limits the fault to so many requests; zero is no limit.
	Next int `json:"next,omitempty"`
	// Share makes the fault hit that share of requests, evenly spread; zero
	// is all of them.
	Share float64 `json:"share,omitempty"`
	// PerSecond lets so many requests a second pass and hits the others;
	// zero hits all.
	PerSecond float64 `json:"perSecond,omitempty"`
	// Delay is waited first, whatever the kind. In JSON it is in nanoseconds.
	Delay time.Duration `json:"delay,omitempty"`
	// Status and Body are FaultStatus's answer; 500 if Status is zero.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Size is FaultHuge's, in bytes; 32 MiB if zero.
	Size int `json:"size,omitempty"`
}

// UnmarshalText refuses a kind that does not exist.
func (k *FaultKind) UnmarshalText(b []byte) error {
	switch kind := FaultKind(b); kind {
	case FaultDelay, FaultThrottle, FaultStatus, FaultGarbage, FaultHuge, FaultDrop:
		*k = kind
		return nil
	default:
		return fmt.Errorf("fault %q: want delay, throttle, status, garbage, huge or drop", b)
	}
}

// Faults are tried in order, and the first that applies to a request counts.
type Faults []Fault

// SetFaults replaces all faults; nil ends them. It may be called at any time.
func (s *Server) SetFaults(f Faults) { s.faults.set(f) }

// faultSet is a Server's faults with what they have done so far.
type faultSet struct {
	clock func() time.Time

	mu   sync.Mutex
	list []activeFault
}

type activeFault struct {
	Fault
	hits  int
	share float64
	// tokens is PerSecond's bucket, filled up to a second's worth.
	tokens float64
	filled time.Time
}

func (f *faultSet) set(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = make([]activeFault, len(faults))
	for i := range faults {
		f.list[i] = activeFault{Fault: faults[i], tokens: max(faults[i].PerSecond, 1), filled: f.clock()}
	}
}

// pick returns the fault that hits a request.
func (f *faultSet) pick(host, action string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		a := &f.list[i]
		if a.Host != "" && a.Host != host || a.Action != "" && a.Action != action {
			continue
		}
		if a.Next > 0 && a.hits >= a.Next {
			continue
		}
		if a.Share > 0 {
			if a.share += a.Share; a.share < 1 {
				continue
			}
			a.share--
		}
		if a.PerSecond > 0 && a.allow(f.clock()) {
			continue
		}
		a.hits++
		return a.Fault, true
	}
	return Fault{}, false
}

// allow takes a token from the bucket.
func (a *activeFault) allow(now time.Time) bool {
	if d := now.Sub(a.filled).Seconds(); d > 0 {
		a.tokens = min(a.tokens+d*a.PerSecond, max(a.PerSecond, 1))
		a.filled = now
	}
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// fault does what the faults say for a request, and tells whether that has
// answered it.
func (s *Server) fault(w http.ResponseWriter, r *http.Request, host, action string) bool {
	fault, ok := s.faults.pick(host, action)
	if !ok {
		return false
	}
	if fault.Kind != FaultDelay {
		s.counts.fault()
	}
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		}
	}
	switch fault.Kind {
	case FaultThrottle:
		writeError(w, r, errThrottling)
	case FaultStatus:
		status := fault.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		writeBody(w, status, "", "text/plain", []byte(fault.Body), nil)
	case FaultGarbage:
		writeBody(w, http.StatusOK, "", "application/json", []byte("\x00\x01<not an answer>{"), nil)
	case FaultHuge:
		writeHuge(w, fault.Size)
	case FaultDrop:
		// The documented way for a handler to end the connection; the
		// server does not log it.
		panic(http.ErrAbortHandler)
	default:
		return false
	}
	return true
}

// writeHuge writes a body that begins like JSON and is far too long.
func writeHuge(w http.ResponseWriter, size int) {
	if size <= 0 {
		size = 32 << 20
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	chunk := make([]byte, 32<<10)
	for i := range chunk {
		chunk[i] = ' '
	}
	for size > 0 {
		n := min(size, len(chunk))
		if _, err := w.Write(chunk[:n]); err != nil {
			return
		}
		size -= n
	}
}
