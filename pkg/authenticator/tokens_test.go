package authenticator

import (
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/token"
)

// TestTokenKinds switches each kind of token off.
func TestTokenKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		tokens         []string
		presigned, jwt bool
	}{
		{"both by default", nil, true, true},
		{"presigned alone", []string{config.TokenPresigned}, true, false},
		{"JWT alone", []string{config.TokenJWT}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.awsAuth(map[string]string{"mapUsers": goodUsers})
			w.start(func(s *config.Settings) { s.Tokens = test.tokens })
			w.waitReady()
			for kind, want := range map[string]bool{w.presign(userARN, clusterID): test.presigned, w.jwt(userARN, clusterID, token.RS256): test.jwt} {
				got := w.review(kind).Status
				if got.Authenticated != want {
					t.Errorf("authenticated %v, want %v (%s)", got.Authenticated, want, got.Error)
				}
				if !want && !strings.HasPrefix(got.Error, "token_kind_off") {
					t.Errorf("error %q, want the code token_kind_off", got.Error)
				}
			}
			if calls := w.sts.Calls().Actions["GetCallerIdentity"]; !test.presigned && calls != 0 {
				t.Errorf("STS was called %d times for tokens that are not taken", calls)
			}
		})
	}
}
