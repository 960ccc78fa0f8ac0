package faults_test

import (
	"testing"
	"time"
)

// TestWatchCutAndAPIServerRestarted: whoever stays mapped logs in while the
// authenticator cannot reach the API server; whoever is unmapped meanwhile is
// refused once it can again. A restart of the API server stops logins only
// while it is away.
func TestWatchCutAndAPIServerRestarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()

	for _, tc := range []struct {
		name  string
		state linkState
	}{{"closed", linkCut}, {"refused", linkRefused}} {
		w.step("connections are "+tc.name, func(t *testing.T) {
			w.setAWSAuth(table(append(staff(), leaver)...))
			w.untilGranted(leaver)
			w.link.set(tc.state)
			w.setAWSAuth(table(append(staff(), joiner)...))
			w.waitReadyz("cannot be read")
			w.waitMetric(healthy, isZero)
			w.waitMetric("configmap_watch_failures_total", positive)
			w.mustBeGranted(leaver) // it cannot be known yet
			w.link.set(linkUp)
			healed := time.Now()
			w.untilRefused(leaver)
			w.untilGranted(joiner)
			t.Logf("the change counts %s after the link is up", milliseconds(time.Since(healed)))
			w.waitMetric(healthy, isOne)
			logins.nobodyWasRefused(began)

			if tc.state != linkRefused {
				return // it takes a list to find out, which is a change
			}
			// Without a change, too, what was wrong is forgotten.
			w.link.set(tc.state)
			w.waitMetric(healthy, isZero)
			w.link.set(linkUp)
			w.waitMetric(healthy, isOne)
		})
	}
	w.step("cut again and again", func(t *testing.T) {
		w.setAWSAuth(table(append(staff(), leaver)...))
		w.untilGranted(leaver)
		for range 20 {
			w.link.set(linkCut)
			w.link.set(linkUp)
		}
		w.setAWSAuth(table(staff()...))
		t.Logf("the change counts after %s", milliseconds(w.untilRefused(leaver)))
		logins.nobodyWasRefused(began)
	})
	w.step("API server restarted", func(t *testing.T) {
		w.setAWSAuth(table(append(staff(), leaver)...))
		w.untilGranted(leaver)
		stopped := time.Now()
		// A watch that is open holds up the end of an API server for a minute.
		// The link stays cut, so that there is time for a change.
		w.link.set(linkCut)
		w.plane.stop()
		w.startPlane()
		up := time.Now()
		t.Logf("the API server was away for %s; everybody is in %s after it is ready",
			milliseconds(up.Sub(stopped)), milliseconds(logins.everybodyGetsIn(up)))
		steady := time.Now()
		w.setAWSAuth(table(staff()...))
		w.link.set(linkUp)
		t.Logf("what was removed meanwhile is refused %s after the link is up", milliseconds(w.untilRefused(leaver)))
		w.waitMetric(healthy, isOne)
		logins.nobodyWasRefused(steady)
	})
	w.step("authenticator restarted", func(t *testing.T) {
		w.authenticator.stop()
		w.launchAuthenticator()
		up := time.Now()
		t.Logf("everybody is in %s after its start", milliseconds(logins.everybodyGetsIn(up)))
		steady := time.Now()
		w.mustBeRefused(leaver)
		logins.nobodyWasRefused(steady)
	})
}
