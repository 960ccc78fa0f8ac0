package authenticator

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// handOverPoll is how often a server that serves in another's stead asks whether
// that one is ready.
const handOverPoll = 200 * time.Millisecond

// standIn returns a context that ends when the server that this one stands in for
// says that it is ready: it listens by then, so no login falls between the two. It
// ends at once if that is so now, and at StandInEnds in any case: mappings cannot
// be followed for ever with what a static pod has.
func (s *Server) standIn(ctx context.Context) (context.Context, context.CancelFunc) {
	cancel := context.CancelFunc(func() {})
	if ends := s.opts.StandInEnds; !ends.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, ends)
	}
	ctx, done := context.WithCancel(ctx)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if isReady(ctx, client, s.opts.UntilReady) {
		done()
	}
	go func() {
		tick := time.NewTicker(handOverPoll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					s.opts.Log.Error("the server that this one stands in for did not get ready in time; nobody can log in by this API server until it is", "waitedFor", s.opts.UntilReady)
				}
				return
			case <-tick.C:
				if isReady(ctx, client, s.opts.UntilReady) {
					done()
				}
			}
		}
	}()
	return ctx, func() { done(); cancel() }
}

// isReady asks a server's readyz.
func isReady(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
