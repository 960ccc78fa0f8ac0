package authenticator

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/config"
)

// TestHonestLoginsGetThroughAFlood mixes honest logins with a flood of each
// kind of token that costs something to refuse.
func TestHonestLoginsGetThroughAFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(func(s *config.Settings) { s.TokenCacheTTL = 0 })
	w.waitReady()
	forged := tamper(w.jwt(userARN, "", "ES384"))
	unknownKey := w.jwt(userARN, "", "RS256")
	bogus := []func(i int) string{
		func(int) string { return forged },
		func(i int) string { return forged[:len(forged)-6] + fmt.Sprintf("%06d", i) },
		func(i int) string {
			return presignedURL(fmt.Sprintf("https://sts.bogus-%d.amazonaws.com/?%s", i, query(nil)))
		},
		func(i int) string {
			sum := fmt.Sprintf("%064x", i)
			return presignedURL("https://sts.us-west-2.amazonaws.com/?" + query(map[string]string{"X-Amz-Signature": sum}))
		},
		func(i int) string { return strings.Replace(unknownKey, ".", fmt.Sprintf("%d.", i), 1) },
	}
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for n, make1 := range bogus {
		flood.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if a := w.review(make1(i)); a.Status.Authenticated {
					t.Errorf("flood %d got in: %+v", n, a)
					return
				}
			}
		})
	}
	for range 10 {
		for _, tok := range []string{w.presign(userARN, clusterID), w.jwt(userARN, "", "RS256"), w.jwt(userARN, "", "ES384")} {
			if a := w.review(tok); !a.Status.Authenticated {
				t.Errorf("got %+v", a)
			}
		}
	}
	close(stop)
	flood.Wait()
}
