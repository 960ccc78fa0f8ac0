package faults_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

// TestSlowHealing has what takes up to a minute to heal, all at once: two token
// issuers in trouble, and a network that has fallen silent. Those who have
// nothing to do with it log in all the time.
func TestSlowHealing(t *testing.T) {
	t.Parallel()
	w := newPlane(t)
	w.setAWSAuth(table(everybody()...))
	silentHost := strings.TrimPrefix(w.state.IssuerURL(silentAccount), "https://")
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultDrop, Host: silentHost}})
	w.startAuthenticator()
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()
	w.step("at once", func(t *testing.T) {
		for name, part := range map[string]func(*world, *testing.T){
			"key set rotated": (*world).rotateKeys,
			"key set unreachable or huge": func(w *world, t *testing.T) {
				w.loseIssuer(t, silentHost)
			},
			"network silent": (*world).silenceNetwork,
		} {
			part, w := part, w
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(w.in(t), t)
			})
		}
	})
	logins.nobodyWasRefused(began)
}

// oldToken is one that was made beforehand.
type oldToken struct {
	token   token.Token
	session string
}

// makeTokens makes tokens for later. The API server remembers a token it has
// taken, so each is good for one look.
func (w *world) makeTokens(p person, n int) []oldToken {
	w.t.Helper()
	tokens := make([]oldToken, n)
	for i := range tokens {
		tok, session, err := w.token(w.t.Context(), p)
		if err != nil {
			w.t.Fatal(err)
		}
		tokens[i] = oldToken{tok, session}
	}
	return tokens
}

// rotateKeys: an issuer has new keys, and none of the old. The new count within
// a minute or so, and then the old no longer do.
func (w *world) rotateKeys(t *testing.T) {
	w.untilGranted(rotator)
	old := w.makeTokens(rotator, 2)
	if err := w.state.RotateKeys(rotatingAccount, false); err != nil {
		t.Fatal(err)
	}
	rotated := time.Now()
	fetches := w.sts.Calls().Actions[stssim.ActionKeys]
	if o := w.loginWith(t.Context(), rotator, old[0].token, old[0].session); !o.granted {
		t.Errorf("with a key that is not known to be withdrawn: %s", o)
	}
	w.untilGranted(rotator)
	t.Logf("new keys count %s after the rotation", milliseconds(time.Since(rotated)))
	if o := w.loginWith(t.Context(), rotator, old[1].token, old[1].session); o.granted || o.err != nil {
		t.Errorf("with a key that was withdrawn: %s", o)
	}
	// The other issuer in trouble is fetched from, too, but not its key set
	// more than once or twice.
	if n := w.sts.Calls().Actions[stssim.ActionKeys] - fetches; n > 20 {
		t.Errorf("keys were fetched %d times", n)
	}
}

// loseIssuer: an issuer cannot be reached when the authenticator starts, then
// sends a key set of 32 MiB, then is well, then sends 32 MiB again.
func (w *world) loseIssuer(t *testing.T, host string) {
	failures := `issuer_key_fetches_total{issuer="https://` + host + `",result="failure"}`
	w.mustBeRefused(silent)
	w.waitMetric(failures, positive)
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultHuge, Host: host}})
	failed := w.metrics()[failures]
	w.waitMetric(failures, func(n float64) bool { return n > failed })
	w.mustBeRefused(silent)

	w.sts.SetFaults(nil)
	healed := time.Now()
	w.untilGranted(silent)
	t.Logf("in %s after the issuer is well", milliseconds(time.Since(healed)))

	old := w.makeTokens(silent, 10)
	if err := w.state.RotateKeys(silentAccount, true); err != nil {
		t.Fatal(err)
	}
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultHuge, Host: host, Action: stssim.ActionKeys}})
	failed = w.metrics()[failures]
	eventually(t, "keys are asked for in vain", func(ctx context.Context) bool {
		w.mustBeRefused(silent) // with a new key
		return w.metrics()[failures] > failed
	})
	for _, o := range old {
		if got := w.loginWith(t.Context(), silent, o.token, o.session); !got.granted {
			t.Errorf("with the last good keys: %s", got)
		}
	}
}

// silenceNetwork: nothing is heard from the API server any more, and nothing
// says so. Connections that were open stay dead.
func (w *world) silenceNetwork(t *testing.T) {
	w.mustBeGranted(leaver)
	w.link.set(linkSilent)
	w.setAWSAuth(table(append(staff(), rotator, silent)...))
	w.mustBeGranted(leaver) // it cannot be known yet
	w.link.set(linkUp)
	t.Logf("what was removed meanwhile is refused %s after the network is up", milliseconds(w.untilRefused(leaver)))
}
