package stsclient

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

func TestGate(t *testing.T) {
	t.Parallel()
	g, now := newGate(), time.Unix(1_000_000, 0)
	enter := func(host string, times int) (ends []func(time.Time, bool)) {
		for range times {
			end, ok := g.enter(host, now)
			if !ok {
				break
			}
			ends = append(ends, end)
		}
		return ends
	}
	for _, end := range enter("good", 1) {
		end(now, true)
	}
	// Hosts that say nothing share places, and leave the good one its own.
	dead := append(enter("dead", maxToHost), enter("dead too", maxToHost)...)
	if len(dead) != maxToSilent+always {
		t.Errorf("%d calls to silent hosts", len(dead))
	}
	good := enter("good", 2*maxToHost)
	if len(good) != maxToHost {
		t.Errorf("%d calls to the good one", len(good))
	}
	for _, end := range dead {
		end(now, false)
	}
	for _, end := range good {
		end(now, true)
	}
	if n := len(enter("dead", maxToHost)); n != maxToSilent {
		t.Errorf("%d places are free again", n)
	}
	now = now.Add(silentAfter + 1)
	again := enter("good", maxToHost)
	if len(again) != always {
		t.Errorf("%d calls to one that was good a minute ago", len(again))
	}
	again[0](now, true) // it still is
	if n := len(enter("good", maxToHost)); n != maxToHost-always+1 {
		t.Errorf("%d more calls when it has answered", n)
	}
}

// TestSilentHostLeavesTheOthersRoom fills the client with calls to a host that
// takes connections and says nothing.
func TestSilentHostLeavesTheOthersRoom(t *testing.T) {
	t.Parallel()
	c, good := sts(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(body("arn:aws:iam::111122223333:user/Alice", "111122223333", "AIDAX")))
	})
	dial := c.transport.DialContext
	c.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "sts.us-west-2.amazonaws.com:443" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dial(ctx, network, address)
	}
	if _, err := c.Identify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	dead := good
	dead.Host = iam.STSHost{Name: "sts.us-west-2.amazonaws.com", Region: "us-west-2"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan reason.Code, maxToSilent+1)
	for range maxToSilent + 1 {
		go func() {
			_, err := c.Identify(ctx, dead)
			ended <- reason.Of(err).Code
		}()
	}
	if code := <-ended; code != reason.Overloaded {
		t.Errorf("one too many: %s", code)
	}
	if _, err := c.Identify(t.Context(), good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	cancel()
	for range maxToSilent {
		if code := <-ended; code != reason.STSUnreachable {
			t.Errorf("got %s", code)
		}
	}
}
