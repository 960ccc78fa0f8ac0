package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load sends TokenReviews as kube-apiserver does: over one connection, with
// HTTP/2.
type load struct {
	bodies [][]byte
	roots  *x509.CertPool
}

func newLoad(w *world, bodies [][]byte) *load {
	l := &load{bodies: bodies, roots: x509.NewCertPool()}
	l.roots.AddCert(w.ca.Cert)
	return l
}

func (l *load) transport() *http.Transport {
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: l.roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
}

// once logs in over a connection of its own.
func (l *load) once(ctx context.Context, addr string) error {
	t := l.transport()
	defer t.CloseIdleConnections()
	return tryLogin(ctx, t, addr, l.bodies[0])
}

var authenticated = []byte(`"authenticated":true`)

func tryLogin(ctx context.Context, t *http.Transport, addr string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+"/authenticate?timeout=30s", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(answer, authenticated) {
		return fmt.Errorf("login refused: %s: %s", resp.Status, answer)
	}
	return nil
}

// sample is what one window has shown.
type sample struct {
	// rate is in logins a second; cpu is the server's, in microseconds a
	// login; p50 and p99 are in milliseconds; fresh is new TLS connections to
	// STS in percent of the logins.
	rate, cpu, p50, p99, fresh float64
}

// run keeps so many logins going at once, and measures for the time given after
// a short warm-up.
func (l *load) run(ctx context.Context, w *world, addr string, pid, atOnce int, window time.Duration) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := l.transport()
	defer t.CloseIdleConnections()
	if err := tryLogin(ctx, t, addr, l.bodies[0]); err != nil { // opens the connection
		return sample{}, err
	}
	var (
		next, done atomic.Int64
		failed     = make(chan error, atOnce)
		took       = make([][]time.Duration, atOnce)
		workers    sync.WaitGroup
		from       atomic.Int64
		begin      = time.Now()
	)
	from.Store(int64(time.Hour))
	for i := range atOnce {
		workers.Go(func() {
			for ctx.Err() == nil {
				start := time.Since(begin)
				body := l.bodies[int(next.Add(1))%len(l.bodies)]
				if err := tryLogin(ctx, t, addr, body); err != nil {
					if ctx.Err() == nil {
						failed <- err
					}
					return
				}
				done.Add(1)
				if int64(start) >= from.Load() {
					took[i] = append(took[i], time.Since(begin)-start)
				}
			}
		})
	}
	state := func() (logins int64, cpu time.Duration, shakes int64, at time.Time, err error) {
		counts, err := w.sts.counts()
		if err != nil {
			return 0, 0, 0, at, err
		}
		cpu, err = cpuTime(pid)
		return done.Load(), cpu, counts.Handshakes, time.Now(), err
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
			return ctx.Err()
		}
	}
	defer workers.Wait()
	defer cancel()
	if err := wait(warmUp); err != nil {
		return sample{}, err
	}
	logins0, cpu0, shakes0, at0, err := state()
	if err != nil {
		return sample{}, err
	}
	from.Store(int64(time.Since(begin)))
	if err := wait(window); err != nil {
		return sample{}, err
	}
	logins1, cpu1, shakes1, at1, err := state()
	if err != nil {
		return sample{}, err
	}
	cancel()
	workers.Wait()
	n := float64(logins1 - logins0)
	all := slices.Concat(took...)
	slices.Sort(all)
	s := sample{
		rate:  n / at1.Sub(at0).Seconds(),
		cpu:   float64((cpu1-cpu0)/time.Nanosecond) / 1000 / n,
		fresh: 100 * float64(shakes1-shakes0) / n,
	}
	if len(all) > 0 {
		s.p50, s.p99 = milliseconds(all[len(all)/2]), milliseconds(all[len(all)*99/100])
	}
	return s, nil
}

// warmUp lets connections open before anything is counted.
const warmUp = 250 * time.Millisecond
