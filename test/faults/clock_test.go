package faults_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// TestClockSteps: when the authenticator's clock is wrong, logins are refused
// for that reason, within the leeway they are not, and once it is right again
// they work at once. The clock of a process cannot be stepped, so the
// authenticator runs in the test here.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	w := newPlane(t)
	step := w.runAuthenticator(t)
	all := staff()
	presigned, jwts := all[:2], all[2:]
	for _, tc := range []struct {
		name             string
		step             time.Duration
		granted, refused []person
		reasons          []string
	}{
		{"a little ahead", 4 * time.Minute, all, nil, nil},
		{"far ahead", 20 * time.Minute, nil, all, []string{`decisions_total{reason="token_expired",token="presigned"}`, `decisions_total{reason="token_expired",token="jwt"}`}},
		{"a day ahead", 24 * time.Hour, nil, all, nil},
		{"a little behind", -15 * time.Second, all, nil, nil},
		{"behind", -4 * time.Minute, presigned, jwts, []string{`decisions_total{reason="clock_behind",token="jwt"}`}},
		{"far behind", -20 * time.Minute, nil, all, []string{`decisions_total{reason="clock_ahead",token="presigned"}`, `decisions_total{reason="clock_behind",token="jwt"}`}},
		{"a day behind", -24 * time.Hour, nil, all, nil},
	} {
		w.step(tc.name, func(t *testing.T) {
			before, calls := w.metrics(), w.sts.Calls().Actions[callerIdentity]
			step.Store(int64(tc.step))
			w.mustBeGranted(tc.granted...)
			w.mustBeRefused(tc.refused...)
			after := w.metrics()
			for _, reason := range tc.reasons {
				if after[reason] <= before[reason] {
					t.Errorf("not counted: %s", reason)
				}
			}
			if tc.granted == nil && w.sts.Calls().Actions[callerIdentity] != calls {
				t.Error("STS was asked about tokens that are refused without it")
			}
			step.Store(0)
			w.mustBeGranted(all...)
		})
	}
	w.step("a token that is remembered", func(t *testing.T) {
		client := w.webhookClient(t, 1)
		defer client.CloseIdleConnections()
		for _, p := range []person{paula, rosa} {
			tok, _, err := w.token(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for _, tc := range []struct {
				step time.Duration
				want bool
			}{{0, true}, {20 * time.Minute, false}, {0, true}} {
				step.Store(int64(tc.step))
				if got := authenticated(t, client, w.webhookURL(), tok.Value); got != tc.want {
					t.Errorf("%s, clock %s ahead: authenticated is %t", p.name, tc.step, got)
				}
			}
		}
	})
}

// runAuthenticator runs the authenticator in this process, on the cluster's
// ports, with the MountedFile backend. Its clock is ahead by the number of
// nanoseconds returned.
func (w *world) runAuthenticator(t *testing.T) *atomic.Int64 {
	t.Helper()
	file, err := render.ServerConfig(w.input())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range staff() {
		e := p.entry()
		file.Server.MapRoles = append(file.Server.MapRoles, config.MapRole{RoleARN: e.ARN, Username: e.Username, Groups: e.Groups})
	}
	settings := config.Defaults()
	settings.Apply(file)
	settings.BackendMode = []string{mapping.BackendMountedFile}
	settings.StateDir, settings.KubeconfigPregenerated = w.layout.Authenticator(""), true
	settings.Port, settings.HealthPort = w.record.Ports.Authenticator, w.record.Ports.AuthenticatorHealth
	settings.Complete()
	if err := settings.Check(); err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse(w.record.STSProxyURL())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.state.CAPEM())
	step := &atomic.Int64{}
	server, err := authenticator.New(authenticator.Options{
		Settings: settings, Instance: "test",
		Network: outbound.Network{Proxy: http.ProxyURL(proxy), TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		Now:     func() time.Time { return time.Now().Add(time.Duration(step.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	eventually(t, "the authenticator is ready", func(ctx context.Context) bool {
		code, _, err := w.get(ctx, "/readyz")
		return err == nil && code == http.StatusOK
	})
	for _, p := range staff() {
		w.untilGranted(p)
	}
	return step
}

// authenticated tells what the webhook says of a token.
func authenticated(t *testing.T, client *http.Client, url, token string) bool {
	t.Helper()
	status, body := review(t.Context(), client, url, token)
	var answer struct {
		Status struct {
			Authenticated bool `json:"authenticated"`
		} `json:"status"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	return answer.Status.Authenticated
}
