package authenticator

import (
	"context"
	"net/http"
	"time"
)

// handOverPoll is how often a server that serves in another's stead asks whether
// that one is ready.
const handOverPoll = 200 * time.Millisecond

// untilReady returns a context that ends when the server at url, which this one
// stands in for, says that it is ready. The other one listens by then, so no
// login falls between the two.
func untilReady(ctx context.Context, url string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		tick := time.NewTicker(handOverPoll)
		defer tick.Stop()
		for !isReady(ctx, client, url) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		cancel()
	}()
	return ctx, cancel
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
