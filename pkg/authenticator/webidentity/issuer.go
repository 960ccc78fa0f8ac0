package webidentity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refreshEvery is how old a key set gets before it is fetched again.
	refreshEvery = time.Hour
	// refetchEvery is how often an unknown key ID or a wrong signature may cause
	// a fetch, however many tokens have one.
	refetchEvery = time.Minute
	// retryEvery is the same for an issuer whose keys were never got.
	retryEvery = 5 * time.Second
	fetchWait  = 10 * time.Second
	// maxAwaiting bounds the logins that wait for one issuer's keys. A token
	// needs no signature to make its login wait for an issuer that does not
	// answer, and those of the other issuers need places too.
	maxAwaiting = 128

	maxDiscovery = 64 << 10
	maxKeySet    = 256 << 10
)

// issuer is one issuer from the configuration, with its keys.
type issuer struct {
	url, account string
	client       *http.Client
	log          *slog.Logger
	now          func() time.Time
	// observe reports each fetch.
	observe func(ok bool)
	// dropped is called when a key has gone or changed.
	dropped func()

	keys     atomic.Pointer[keySet]
	awaiting atomic.Int64

	mu       sync.Mutex
	lastTry  time.Time
	inFlight chan struct{}
	lastErr  error
}

// get returns the issuer's keys, fetched again if they lack one and the last
// attempt was long enough ago. The last good set stays when a fetch fails.
func (i *issuer) get(ctx, life context.Context, owned *sync.WaitGroup, alg, kid string) (*keySet, error) {
	if k := i.keys.Load(); k.has(alg, kid) {
		return k, nil
	}
	if err := i.await(ctx, life, owned); err != nil {
		return i.keys.Load(), err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys.Load(), i.lastErr
}

// replaced returns the issuer's keys if they have another one under the key ID
// than old, which found a signature wrong. AWS's key IDs are generic, so a new
// key may have its predecessor's; to see one, the keys are fetched again, if the
// last attempt was long enough ago. It returns nil if the key is the same.
func (i *issuer) replaced(ctx, life context.Context, owned *sync.WaitGroup, old *keySet, alg, kid string) *keySet {
	if i.keys.Load().same(old, alg, kid) && i.await(ctx, life, owned) != nil {
		return nil
	}
	if k := i.keys.Load(); k.has(alg, kid) && !k.same(old, alg, kid) {
		return k
	}
	return nil
}

// await waits for a fetch, if one is on its way or due, or until ctx ends. It
// returns errTurnedAway if enough are waiting.
func (i *issuer) await(ctx, life context.Context, owned *sync.WaitGroup) error {
	done := i.refetch(life, owned)
	if done == nil {
		return nil
	}
	defer i.awaiting.Add(-1)
	if i.awaiting.Add(1) > maxAwaiting {
		return errTurnedAway
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed tells whether the last fetch did.
func (i *issuer) failed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lastErr != nil
}

// refetch starts a fetch, unless one is on its way (its channel is returned) or
// was made a moment ago (nil).
func (i *issuer) refetch(life context.Context, owned *sync.WaitGroup) <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.inFlight != nil {
		return i.inFlight
	}
	pause := refetchEvery
	if i.keys.Load() == nil {
		pause = retryEvery
	}
	if !i.lastTry.IsZero() && i.now().Sub(i.lastTry) < pause || life.Err() != nil {
		return nil
	}
	done := make(chan struct{})
	i.inFlight, i.lastTry = done, i.now()
	owned.Go(func() {
		defer close(done)
		i.refresh(life)
		i.mu.Lock()
		i.inFlight = nil
		i.mu.Unlock()
	})
	return done
}

// refresh fetches the keys and puts them in place.
func (i *issuer) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	set, err := i.fetch(ctx)
	i.mu.Lock()
	i.lastErr = err
	i.mu.Unlock()
	i.observe(err == nil)
	if err != nil {
		i.log.LogAttrs(ctx, slog.LevelWarn, "issuer's keys not fetched, the last good ones stay",
			slog.String("issuer", i.url), slog.String("error", err.Error()), slog.Bool("haveKeys", i.keys.Load() != nil))
		return
	}
	old := i.keys.Swap(set)
	if old != nil && !old.within(set) {
		i.dropped()
	}
	i.log.LogAttrs(ctx, slog.LevelDebug, "issuer's keys fetched", slog.String("issuer", i.url),
		slog.Int("rsa", len(set.rsa)), slog.Int("ec", len(set.ec)))
}

// fetch gets discovery document and key set.
func (i *issuer) fetch(ctx context.Context) (*keySet, error) {
	body, err := i.getURL(ctx, i.url+"/.well-known/openid-configuration", maxDiscovery)
	if err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	var d struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, errors.New("discovery document is not JSON of the expected form")
	}
	if d.Issuer != i.url {
		return nil, fmt.Errorf("discovery document is another issuer's (%q)", clip(d.Issuer))
	}
	own, err := url.Parse(i.url)
	if err != nil {
		return nil, errors.New("issuer is not a URL")
	}
	u, err := url.Parse(d.JWKSURI)
	if err != nil || u.Scheme != "https" || u.Host != own.Host || u.User != nil {
		return nil, fmt.Errorf("jwks_uri %q is not an https URL on the issuer's own host", clip(d.JWKSURI))
	}
	if body, err = i.getURL(ctx, d.JWKSURI, maxKeySet); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return parseKeySet(body)
}

func (i *issuer) getURL(ctx context.Context, u string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	return body, nil
}

func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "..."
	}
	return s
}
