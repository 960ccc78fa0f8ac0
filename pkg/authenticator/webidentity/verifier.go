package webidentity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

// leeway is how far clocks may be apart.
const leeway = 30 * time.Second

// maxWaiting is how many tokens may wait for their signature's turn.
const maxWaiting = 256

// Issuer is an account's issuer.
type Issuer struct {
	// URL is compared with iss exactly.
	URL string
	// Account is the only one whose principals it may name.
	Account string
}

// Options say which JWTs are good.
type Options struct {
	Issuers   []Issuer
	Audiences []string
	Partition string
	Network   outbound.Network
	Log       *slog.Logger
	// ObserveFetch is called after each fetch of an issuer's keys. It may be
	// nil.
	ObserveFetch func(issuer string, ok bool)
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Verifier verifies JWTs. It is safe for concurrent use; Close ends what it has
// running.
type Verifier struct {
	issuers   map[string]*issuer
	audiences map[string]bool
	partition string
	now       func() time.Time
	transport *http.Transport
	epoch     atomic.Uint64

	// A flood of forged tokens of the dear algorithm must not hold up those of
	// the cheap one.
	rs, es turnstile

	life  context.Context //nolint:containedctx // the verifier's own, ended by Close
	stop  context.CancelFunc
	owned sync.WaitGroup
}

// New returns a verifier. It fetches nothing until Run or the first token.
func New(opts Options) *Verifier {
	v := &Verifier{
		issuers:   make(map[string]*issuer, len(opts.Issuers)),
		audiences: make(map[string]bool, len(opts.Audiences)),
		partition: opts.Partition,
		now:       opts.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.ObserveFetch == nil {
		opts.ObserveFetch = func(string, bool) {}
	}
	cpus := runtime.GOMAXPROCS(0)
	v.rs, v.es = newTurnstile(max(2, cpus)), newTurnstile(max(1, cpus/2))
	v.life, v.stop = context.WithCancel(context.Background())
	for _, a := range opts.Audiences {
		v.audiences[a] = true
	}
	v.transport = opts.Network.Transport(4)
	client := &http.Client{
		Transport:     v.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, i := range opts.Issuers {
		v.issuers[i.URL] = &issuer{
			url: i.URL, account: i.Account, client: client, log: opts.Log, now: v.now,
			observe: func(ok bool) { opts.ObserveFetch(i.URL, ok) },
			dropped: func() { v.epoch.Add(1) },
		}
	}
	return v
}

// Close ends fetches under way and waits for them.
func (v *Verifier) Close() {
	v.stop()
	v.owned.Wait()
	v.transport.CloseIdleConnections()
}

// Run fetches every issuer's keys now and keeps them fresh until ctx ends, so
// that no login has to wait for them.
func (v *Verifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, i := range v.issuers {
		wg.Go(func() {
			pause := time.Second
			for {
				done := i.refetch(v.life, &v.owned)
				if done != nil {
					<-done // at most fetchWait
				}
				if i.failed() {
					pause = min(2*pause, refetchEvery)
				} else {
					pause = refreshEvery
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
			}
		})
	}
	wg.Wait()
}

// Epoch changes whenever a key has gone or changed: what was verified in an
// earlier epoch must be verified again.
func (v *Verifier) Epoch() uint64 { return v.epoch.Load() }

// Verify checks a JWT, without the token's prefix, and returns whose it is.
// Errors are *reason.Denial.
func (v *Verifier) Verify(ctx context.Context, token string) (identity.Identity, error) {
	if len(token) > MaxBytes {
		return identity.Identity{}, malformed("JWT is longer than 16 KiB")
	}
	p, err := parse(token)
	if err != nil {
		return identity.Identity{}, err
	}
	defer p.free()
	iss := v.issuers[p.claims.Iss]
	if iss == nil {
		if len(v.issuers) == 0 {
			return identity.Identity{}, reason.New(reason.UnknownIssuer, "this cluster takes no JWTs: server.tokenIssuers is empty")
		}
		return identity.Identity{}, reason.New(reason.UnknownIssuer, "issuer "+quote(p.claims.Iss)+" is not one of server.tokenIssuers")
	}
	id, err := v.checkClaims(&p.claims, iss)
	if err != nil {
		return identity.Identity{}, err
	}
	keys, err := iss.get(ctx, v.life, &v.owned, p.header.Alg, p.header.Kid)
	if keys == nil {
		return identity.Identity{}, reason.Wrap(reason.IssuerUnreachable, "the keys of issuer "+iss.url+" could not be fetched yet", err)
	}
	if !keys.has(p.header.Alg, p.header.Kid) {
		if errors.Is(err, errTurnedAway) {
			return identity.Identity{}, reason.Wrap(reason.Overloaded, "too many wait for the keys of issuer "+iss.url, err)
		}
		return identity.Identity{}, reason.New(reason.UnknownKey, "issuer "+iss.url+" has no "+p.header.Alg+" key "+quote(p.header.Kid))
	}
	good, err := v.checkSignature(ctx, keys, p)
	if err == nil && !good {
		if keys = iss.replaced(ctx, v.life, &v.owned, keys, p.header.Alg, p.header.Kid); keys != nil {
			good, err = v.checkSignature(ctx, keys, p)
		}
	}
	switch {
	case err != nil:
		return identity.Identity{}, reason.Wrap(reason.Overloaded, "too many signatures to check", err)
	case !good:
		return identity.Identity{}, reason.New(reason.BadSignature, "JWT's signature is wrong")
	}
	return id, nil
}

// checkSignature checks a token's signature when its turn has come. The error
// says that it will not come.
func (v *Verifier) checkSignature(ctx context.Context, keys *keySet, p *parts) (bool, error) {
	gate := &v.rs
	if p.header.Alg == algES384 {
		gate = &v.es
	}
	if err := gate.enter(ctx); err != nil {
		return false, err
	}
	defer gate.leave()
	return keys.verify(p.header.Alg, p.header.Kid, p.signed, p.signature), nil
}

// checkClaims checks all that is signed, before the signature.
func (v *Verifier) checkClaims(c *claims, iss *issuer) (identity.Identity, error) {
	now := v.now()
	switch {
	case !c.Exp.set || !c.Iat.set:
		return identity.Identity{}, malformed("JWT lacks exp or iat")
	case now.After(c.Exp.time().Add(leeway)):
		return identity.Identity{}, reason.New(reason.Expired, "JWT expired "+seconds(now.Sub(c.Exp.time()))+" s ago")
	case c.Iat.time().After(now.Add(leeway)):
		return identity.Identity{}, reason.New(reason.ClockBehind, "JWT was issued "+seconds(c.Iat.time().Sub(now))+" s in the future: this server's clock is behind")
	case c.Nbf.set && c.Nbf.time().After(now.Add(leeway)):
		return identity.Identity{}, reason.New(reason.ClockBehind, "JWT is not good before "+seconds(c.Nbf.time().Sub(now))+" s from now")
	}
	if !v.audienceMatches(c.Aud) {
		return identity.Identity{}, reason.New(reason.WrongAudience, "JWT's audience is not this cluster's")
	}
	arn, err := iam.ParseARN(c.Sub)
	if err != nil {
		return identity.Identity{}, reason.Wrap(reason.Malformed, "JWT's sub is no principal's ARN: "+err.Error(), err)
	}
	if arn.Kind == iam.KindAssumedRole {
		// STS names the role itself; a session's name is in no claim.
		return identity.Identity{}, malformed("JWT's sub is a role's session, and not the role")
	}
	if arn.Partition != v.partition {
		return identity.Identity{}, reason.New(reason.WrongPartition, "principal is in partition "+arn.Partition+", this cluster takes "+v.partition)
	}
	if arn.Account != iss.account || string(c.AWS.Account) != iss.account {
		return identity.Identity{}, reason.New(reason.WrongAccount, "issuer "+iss.url+" speaks for account "+iss.account+" only, and sub or aws_account names another")
	}
	return identity.Identity{
		ARN: arn, Canonical: arn.Principal().StripRolePath().String(),
		JTI:        string(c.Jti),
		InstanceID: instanceID(string(c.AWS.Instance)),
		Expires:    c.Exp.time(),
	}, nil
}

func (v *Verifier) audienceMatches(aud []string) bool {
	for _, a := range aud {
		if v.audiences[a] {
			return true
		}
	}
	return false
}

// instanceID returns the ID at the end of an EC2 instance's ARN
// (arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0).
func instanceID(arn string) string {
	_, id, _ := strings.Cut(arn, ":instance/")
	return id
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func quote(s string) string { return strconv.QuoteToASCII(clip(s)) }

// turnstile lets some through at once, makes some wait, and turns the rest
// away.
type turnstile struct {
	slots   chan struct{}
	waiting *atomic.Int64
}

var errTurnedAway = errors.New("too many are waiting")

func newTurnstile(n int) turnstile {
	return turnstile{slots: make(chan struct{}, n), waiting: new(atomic.Int64)}
}

func (t *turnstile) enter(ctx context.Context) error {
	select {
	case t.slots <- struct{}{}:
		return nil
	default:
	}
	if t.waiting.Add(1) > maxWaiting {
		t.waiting.Add(-1)
		return errTurnedAway
	}
	defer t.waiting.Add(-1)
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turnstile) leave() { <-t.slots }
