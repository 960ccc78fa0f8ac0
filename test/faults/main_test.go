// Package faults_test breaks what can break around the authenticator, while
// people log in through a real API server, and shows what docs/reliability.md
// promises: who stays logged in, who is refused, how soon it heals.
//
// Each test has a control plane of its own (`capiam-local bare`), the
// authenticator as a process of its own, and the simulated STS in the test.
// The programs are taken from the directory in CAPIAM_BIN, which `make test`
// sets. Nothing here reaches beyond the machine.
package faults_test

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// patience bounds everything that is waited for. It is far more than anything
// takes, so that a busy machine fails no test.
const patience = 2 * time.Minute

// pollEvery is how often something that is waited for is looked at.
const pollEvery = 20 * time.Millisecond

// planesAtOnce is as many control planes as two cores carry.
var planesAtOnce = semaphore.NewWeighted(2)

// eventually waits until ok says so, and returns how long that took.
func eventually(t *testing.T, what string, ok func(ctx context.Context) bool) time.Duration {
	t.Helper()
	return eventuallyElse(t, what, ok, func() string { return "" })
}

// eventuallyElse is eventually for what can say more of why it failed.
func eventuallyElse(t *testing.T, what string, ok func(ctx context.Context) bool, why func() string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	started := time.Now()
	for !ok(ctx) {
		if !pause(ctx, pollEvery) {
			t.Fatalf("not within %s: %s\n%s", patience, what, why())
		}
	}
	return time.Since(started)
}

// pause waits, and tells whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// milliseconds is for logs.
func milliseconds(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
