package faults_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/stssim"
)

const callerIdentity = "GetCallerIdentity"

// TestSTSFaults: while STS is out of order, presigned logins are refused, each
// after one request to the authenticator and at most one call to STS; JWT
// logins go on. The first login after the end of the fault works.
func TestSTSFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jwts := w.keepLoggingIn(t, rosa, esther)
	began := time.Now()
	for _, tc := range []struct {
		name  string
		fault stssim.Fault
	}{
		{"down", stssim.Fault{Kind: stssim.FaultDrop}},
		{"error", stssim.Fault{Kind: stssim.FaultStatus, Status: 500}},
		{"unavailable", stssim.Fault{Kind: stssim.FaultStatus, Status: 503}},
		{"throttling", stssim.Fault{Kind: stssim.FaultThrottle}},
		{"too many requests", stssim.Fault{Kind: stssim.FaultStatus, Status: 429}},
		{"garbage", stssim.Fault{Kind: stssim.FaultGarbage}},
		{"32 MiB", stssim.Fault{Kind: stssim.FaultHuge}},
		{"no answer", stssim.Fault{Kind: stssim.FaultDelay, Delay: time.Minute}},
	} {
		w.step(tc.name, func(t *testing.T) {
			tc.fault.Action = callerIdentity
			w.sts.SetFaults(stssim.Faults{tc.fault})
			defer w.sts.SetFaults(nil)
			const logins = 4
			asked, called := w.decisions("presigned"), w.sts.Calls().Actions[callerIdentity]
			started := time.Now()
			for _, o := range w.atOnce(t, logins) {
				if o.granted || o.err != nil {
					t.Error(o)
				}
			}
			took := time.Since(started)
			asked, called = w.decisions("presigned")-asked, w.sts.Calls().Actions[callerIdentity]-called
			if asked != logins {
				t.Errorf("the API server asked %d times about %d logins", asked, logins)
			}
			// A connection that was dropped is tried again on a new one.
			if most := 2 * logins; called > most || tc.fault.Kind != stssim.FaultDrop && called != logins {
				t.Errorf("STS was called %d times for %d logins", called, logins)
			}
			w.sts.SetFaults(nil)
			healed := time.Now()
			w.mustBeGranted(paula)
			t.Logf("%d logins refused in %s with %d requests and %d calls; in again after %s",
				logins, milliseconds(took), asked, called, milliseconds(time.Since(healed)))
		})
	}
	w.step("slow", func(t *testing.T) {
		const delay = 2 * time.Second
		w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultDelay, Action: callerIdentity, Delay: delay}})
		defer w.sts.SetFaults(nil)
		for _, o := range w.atOnce(t, 4) {
			if !o.granted || o.took < delay {
				t.Error(o)
			}
		}
	})
	w.step("refused connections", func(t *testing.T) {
		if err := w.proxy.Close(); err != nil {
			t.Fatal(err)
		}
		asked := w.decisions("presigned")
		for _, o := range w.atOnce(t, 4) {
			if o.granted || o.err != nil {
				t.Error(o)
			}
		}
		if asked = w.decisions("presigned") - asked; asked != 4 {
			t.Errorf("the API server asked %d times about 4 logins", asked)
		}
		w.openProxy()
		healed := time.Now()
		w.mustBeGranted(paula)
		t.Logf("in again after %s", milliseconds(time.Since(healed)))
	})
	jwts.nobodyWasRefused(began)
}

// atOnce has presigned logins at once, each with a token of its own.
func (w *world) atOnce(t *testing.T, n int) []outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	outcomes := make([]outcome, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { outcomes[i] = w.login(ctx, paula) })
	}
	wg.Wait()
	return outcomes
}
