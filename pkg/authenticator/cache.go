package authenticator

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/identity"
)

// tokenKey stands for a token, which itself is not kept for longer than its
// request takes.
type tokenKey [sha256.Size]byte

func keyOf(token string) tokenKey {
	b := tokenBytes.Get().(*[]byte)
	defer tokenBytes.Put(b)
	*b = append((*b)[:0], token...) // none is longer than 16 KiB here
	return sha256.Sum256(*b)
}

// tokenBytes spares each login a copy of its token for the hash.
var tokenBytes = sync.Pool{New: func() any { return new([]byte) }}

// verified is a token that was verified.
type verified struct {
	id *identity.Identity
	// until is when it must be verified again.
	until time.Time
	// epoch is the verifier's; a token of an earlier one must be verified
	// again.
	epoch uint64
}

// tokenCache remembers verified tokens for a short time, and lets requests that
// bring the same token at once share one verification. It remembers who the
// token's owner is, never what that means in Kubernetes: a change of mappings
// counts at once.
type tokenCache struct {
	ttl  time.Duration
	size int

	mu      sync.Mutex
	entries map[tokenKey]verified
	// ring holds the keys in the order they came in; the oldest makes room.
	ring   []tokenKey
	next   int
	flight map[string]*verification // by token
}

// verification is one under way.
type verification struct {
	done chan struct{}
	id   *identity.Identity
	err  error
	// abandoned says that it ended because its own request did.
	abandoned bool
}

// newTokenCache returns a cache for size tokens. Without ttl or size it
// remembers nothing, and only shares.
func newTokenCache(ttl time.Duration, size int) *tokenCache {
	c := &tokenCache{ttl: ttl, size: size, flight: map[string]*verification{}}
	if ttl <= 0 {
		c.size = 0
	}
	if c.size > 0 {
		c.entries = make(map[tokenKey]verified)
	}
	return c
}

// remembers tells whether get and put do anything.
func (c *tokenCache) remembers() bool { return c.size > 0 }

// get returns the identity of a token that was verified a moment ago.
func (c *tokenCache) get(k tokenKey, now time.Time, epoch uint64) *identity.Identity {
	if c.size == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.entries[k]
	if !ok || v.epoch != epoch || !now.Before(v.until) {
		return nil
	}
	return v.id
}

// put remembers a token, never past its own end.
func (c *tokenCache) put(k tokenKey, id *identity.Identity, now time.Time, epoch uint64) {
	if c.size == 0 {
		return
	}
	until := now.Add(c.ttl)
	if id.Expires.Before(until) {
		until = id.Expires
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[k]; !known {
		if len(c.ring) < c.size {
			c.ring = append(c.ring, k)
		} else {
			delete(c.entries, c.ring[c.next])
			c.ring[c.next] = k
			c.next = (c.next + 1) % c.size
		}
	}
	c.entries[k] = verified{id: id, until: until, epoch: epoch}
}

// share runs verify, or waits for another request that is verifying the same
// token. If that request goes away, one of those waiting takes over.
func (c *tokenCache) share(ctx context.Context, token string, verify func() (*identity.Identity, error)) (id *identity.Identity, shared bool, err error) {
	for {
		c.mu.Lock()
		if v := c.flight[token]; v != nil {
			c.mu.Unlock()
			select {
			case <-v.done:
			case <-ctx.Done():
				return nil, true, ctx.Err()
			}
			if v.abandoned {
				continue
			}
			return v.id, true, v.err
		}
		v := &verification{done: make(chan struct{})}
		c.flight[token] = v
		c.mu.Unlock()
		func() {
			// Also if verify panics: nobody must wait for ever.
			v.abandoned = true
			defer func() {
				c.mu.Lock()
				delete(c.flight, token)
				c.mu.Unlock()
				close(v.done)
			}()
			v.id, v.err = verify()
			v.abandoned = v.err != nil && errors.Is(ctx.Err(), context.Canceled)
		}()
		return v.id, false, v.err
	}
}
