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
	w.loseIssuer(t, silentHost)
	// What follows is begun before it is waited for, so that the waits are one.
	waits := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"network silent", w.silenceNetwork(t)},
		{"key set rotated", w.rotateKeys(t)},
		{"key set rotated, and huge", w.keepLastKeys(t, silentHost)},
	}
	for _, wait := range waits {
		w.step(wait.name, wait.run)
	}
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
func (w *world) rotateKeys(t *testing.T) (wait func(*testing.T)) {
	w.untilGranted(rotator)
	old := w.makeTokens(rotator, 2)
	if err := w.state.RotateKeys(rotatingAccount, false); err != nil {
		t.Fatal(err)
	}
	rotated := time.Now()
	if o := w.loginWith(t.Context(), rotator, old[0].token, old[0].session); !o.granted {
		t.Errorf("with a key that is not known to be withdrawn: %s", o)
	}
	return func(t *testing.T) {
		w.untilGranted(rotator)
		t.Logf("new keys count at most %s after the rotation", milliseconds(time.Since(rotated)))
		if o := w.loginWith(t.Context(), rotator, old[1].token, old[1].session); o.granted || o.err != nil {
			t.Errorf("with a key that was withdrawn: %s", o)
		}
	}
}

// loseIssuer: an issuer cannot be reached since before the authenticator was
// started, then sends documents of 32 MiB, then is well.
func (w *world) loseIssuer(t *testing.T, host string) {
	w.mustBeRefused(silent)
	failed := w.fetches(host, "failure")
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultHuge, Host: host}})
	eventually(t, "keys are asked for in vain", func(context.Context) bool {
		w.mustBeRefused(silent)
		return w.fetches(host, "failure") > failed
	})
	w.sts.SetFaults(nil)
	healed := time.Now()
	w.untilGranted(silent)
	t.Logf("in %s after the issuer is well", milliseconds(time.Since(healed)))
}

// keepLastKeys: an issuer has new keys beside the old, but its key set cannot be
// had. Who comes with the new is refused, who comes with the old is not, however
// often the keys are asked for.
func (w *world) keepLastKeys(t *testing.T, host string) (wait func(*testing.T)) {
	old := w.makeTokens(silent, 10)
	if err := w.state.RotateKeys(silentAccount, true); err != nil {
		t.Fatal(err)
	}
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultHuge, Host: host, Action: stssim.ActionKeys}})
	failed, began := w.fetches(host, "failure"), time.Now()
	w.mustBeRefused(silent)
	return func(t *testing.T) {
		eventually(t, "keys are asked for in vain", func(context.Context) bool {
			w.mustBeRefused(silent)
			return w.fetches(host, "failure") > failed
		})
		for _, o := range old {
			if got := w.loginWith(t.Context(), silent, o.token, o.session); !got.granted {
				t.Errorf("with the last good keys: %s", got)
			}
		}
		if n := w.fetches(host, "failure") - failed; n > 2+time.Since(began).Minutes() {
			t.Errorf("keys were asked for %.0f times", n)
		}
	}
}

// fetches returns how often an issuer's keys were fetched, with this result.
func (w *world) fetches(host, result string) float64 {
	w.t.Helper()
	return w.metrics()[`issuer_key_fetches_total{issuer="https://`+host+`",result="`+result+`"}`]
}

// silenceNetwork: nothing is heard from the API server any more, and nothing
// says so. Connections that were open stay dead.
func (w *world) silenceNetwork(t *testing.T) (wait func(*testing.T)) {
	w.mustBeGranted(leaver)
	w.link.set(linkSilent)
	w.setAWSAuth(table(append(staff(), rotator, silent)...))
	w.mustBeGranted(leaver) // it cannot be known yet
	w.link.set(linkUp)
	up := time.Now()
	return func(t *testing.T) {
		w.untilRefused(leaver)
		t.Logf("what was removed meanwhile is refused %s after the network is up", milliseconds(time.Since(up)))
	}
}
