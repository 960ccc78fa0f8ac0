package webidentity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/reason"
)

// otherKeys returns public keys under the usual IDs that no token is signed
// with.
func (i *issuers) otherKeys() []map[string]string {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	point, err := e.PublicKey.Bytes()
	if err != nil {
		i.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	keys := i.publicKeys("RSA_0", "EC384_0")
	keys[0]["n"] = b64(r.N.Bytes())
	keys[1]["x"], keys[1]["y"] = b64(point[1:49]), b64(point[49:])
	return keys
}

func (i *issuers) verify(alg, kid string) reason.Code {
	_, err := i.v.Verify(context.Background(), sign(i.t, alg, kid, i.claims()))
	return code(err)
}

func TestKeyReplacedUnderItsID(t *testing.T) {
	t.Parallel()
	for alg, kid := range map[string]string{"RS256": "RSA_0", "ES384": "EC384_0"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			i := newIssuers(t)
			old := i.otherKeys()
			i.set(func() { i.keys = old })
			if got := i.verify(alg, kid); got != reason.BadSignature {
				t.Fatalf("another key's: %s", got)
			}
			epoch := i.v.Epoch()
			i.set(func() { i.keys = i.publicKeys("RSA_0", "EC384_0") })
			if got := i.verify(alg, kid); got != reason.BadSignature {
				t.Errorf("within the minute: %s", got)
			}
			i.set(func() { i.clock = i.clock.Add(refetchEvery) })
			if got := i.verify(alg, kid); got != reason.OK {
				t.Errorf("after a minute: %s", got)
			}
			if i.v.Epoch() == epoch {
				t.Error("a key has changed, and what it verified is not forgotten")
			}
		})
	}
}

func TestForgedSignaturesFetchOnceAMinute(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	honest := sign(t, "RS256", "RSA_0", i.claims())
	for alg, kid := range map[string]string{"RS256": "RSA_0", "ES384": "EC384_0"} {
		if got := i.verify(alg, kid); got != reason.OK {
			t.Fatal(got)
		}
	}
	other := i.claims()
	other["sub"] = "arn:aws:iam::111122223333:role/Forged"
	forged := sign(t, "RS256", "RSA_0", other)
	forged = forged[:len(forged)-len("AAAA")] + "AAAA"
	var flood sync.WaitGroup
	forge := func(n int) {
		for range n {
			flood.Go(func() {
				if _, err := i.v.Verify(context.Background(), forged); code(err) != reason.BadSignature && code(err) != reason.Overloaded {
					t.Errorf("forged: %v", err)
				}
			})
		}
	}
	before := i.fetches()
	forge(100)
	flood.Wait()
	if after := i.fetches(); after != before {
		t.Errorf("%d requests within the minute", after-before)
	}

	// The issuer takes its time over the one fetch that is due: who waits is the
	// forger.
	asked, answer := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	i.set(func() {
		i.clock = i.clock.Add(refetchEvery)
		i.hold = func() { ask(); <-answer }
	})
	forge(100)
	<-asked
	if _, err := i.v.Verify(context.Background(), honest); err != nil {
		t.Errorf("honest, while the keys are fetched: %v", err)
	}
	close(answer)
	flood.Wait()
	forge(100)
	flood.Wait()
	// A fetch is two requests: the discovery document and the keys.
	if after := i.fetches(); after != before+2 {
		t.Errorf("%d requests a minute later, want 2", after-before)
	}
	if got := i.verify("ES384", "EC384_0"); got != reason.OK {
		t.Errorf("honest, after it: %s", got)
	}
}

// TestSilentIssuerKeepsFewWaiting has an issuer hang whose keys were never got:
// tokens that name it do not take the places of the others.
func TestSilentIssuerKeepsFewWaiting(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	i.set(func() { i.hold = func() { ask(); <-answer } })
	ctx, cancel := context.WithCancel(t.Context())
	token := sign(t, "RS256", "RSA_0", i.claims())
	ended := make(chan reason.Code, 2*maxAwaiting)
	for range 2 * maxAwaiting {
		go func() {
			_, err := i.v.Verify(ctx, token)
			ended <- code(err)
		}()
	}
	<-asked
	for range maxAwaiting {
		if got := <-ended; got != reason.IssuerUnreachable {
			t.Errorf("one too many: %s", got)
		}
	}
	cancel()
	for range maxAwaiting {
		<-ended
	}
	close(answer)
	if n := i.v.issuers[issuerURL].awaiting.Load(); n != 0 {
		t.Errorf("%d places are kept", n)
	}
	// Keys that are there need no waiting, however many do.
	for _, err := i.v.Verify(t.Context(), token); err != nil; _, err = i.v.Verify(t.Context(), token) {
		if code(err) != reason.IssuerUnreachable {
			t.Fatal(err)
		}
	}
}
