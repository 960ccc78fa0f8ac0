package authenticator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/authenticator/stsclient"
	"github.com/capiam/capiam/pkg/authenticator/webidentity"
	"github.com/capiam/capiam/pkg/mapping"
)

// NodeNames finds an EC2 instance's private DNS name, for the template
// {{EC2PrivateDNSName}}. Errors are *reason.Denial.
type NodeNames interface {
	PrivateDNSName(ctx context.Context, instanceID string) (string, error)
}

// DeciderOptions are what a Decider works with.
type DeciderOptions struct {
	// RefusePresigned and RefuseJWT switch a kind of token off.
	RefusePresigned, RefuseJWT bool

	Presigned *presigned.Parser
	STS       *stsclient.Client
	JWT       *webidentity.Verifier
	Store     *backend.Store
	// NodeNames may be nil: then {{EC2PrivateDNSName}} cannot be filled.
	NodeNames NodeNames
	Metrics   *metrics.Metrics
	// ReservedPrefixes are username prefixes that must not come out of a
	// backend, by backend.
	ReservedPrefixes map[string][]string
	// CacheTTL and CacheSize bound the cache of verified tokens; zero switches
	// it off.
	CacheTTL  time.Duration
	CacheSize int
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Decider judges tokens. It is safe for concurrent use.
type Decider struct {
	opts  DeciderOptions
	cache *tokenCache
}

// NewDecider returns a Decider.
func NewDecider(opts DeciderOptions) *Decider {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Metrics == nil {
		opts.Metrics = metrics.New()
	}
	return &Decider{opts: opts, cache: newTokenCache(opts.CacheTTL, opts.CacheSize)}
}

// Decision is what became of a token.
type Decision struct {
	// Code is reason.OK, or why the login was denied; Detail then says more,
	// without any secret.
	Code   reason.Code
	Detail string
	// Token is the kind of token, one of metrics' constants.
	Token string
	// Identity is who it is, as soon as that was verified.
	Identity *identity.Identity
	// Username and Groups are the Kubernetes user's, if Code is OK.
	Username string
	Groups   []string
	// Backend is where the mapping came from.
	Backend string
}

// Kind tells a token's kind by its shape: two dots after the prefix make a JWT,
// since base64url has none. A token without the prefix is not ours.
func Kind(token string) string {
	rest, ok := strings.CutPrefix(token, presigned.Prefix)
	switch {
	case !ok:
		return metrics.TokenOther
	case strings.Count(rest, ".") == 2:
		return metrics.TokenJWT
	default:
		return metrics.TokenPresigned
	}
}

// Decide judges a token.
func (d *Decider) Decide(ctx context.Context, token string) Decision {
	return d.decideKind(ctx, token, Kind(token))
}

// decideKind judges a token whose kind is known.
func (d *Decider) decideKind(ctx context.Context, token, kind string) Decision {
	dec := Decision{Token: kind}
	if dec.Token == metrics.TokenOther {
		dec.Code = reason.NotOurs
		return dec
	}
	err := d.decide(ctx, token, &dec)
	if err != nil {
		denial := reason.Of(err)
		dec.Code, dec.Detail = denial.Code, denial.Detail
		dec.Username, dec.Groups = "", nil
		return dec
	}
	dec.Code = reason.OK
	return dec
}

func (d *Decider) decide(ctx context.Context, token string, dec *Decision) error {
	id, err := d.verify(ctx, token, dec.Token)
	if err != nil {
		return err
	}
	dec.Identity = id
	match, err := d.opts.Store.Lookup(mapping.Principal{ARN: id.ARN, UserID: id.UserID})
	if err != nil {
		return lookupDenial(err, id.Canonical)
	}
	dec.Backend = match.Source
	return d.render(ctx, match, id, dec)
}

// Verify says who sent the token, without looking at mappings. Errors are
// *reason.Denial.
func (d *Decider) Verify(ctx context.Context, token string) (*identity.Identity, error) {
	return d.verify(ctx, token, Kind(token))
}

func (d *Decider) verify(ctx context.Context, token, kind string) (*identity.Identity, error) {
	switch kind {
	case metrics.TokenOther:
		return nil, reason.New(reason.NotOurs, "token has no "+presigned.Prefix+" prefix")
	case metrics.TokenJWT:
		if d.opts.RefuseJWT {
			return nil, reason.New(reason.TokenKindOff, "this cluster takes no JWTs: server.tokens does not list jwt")
		}
		if len(token) > webidentity.MaxBytes {
			return nil, reason.New(reason.Malformed, "JWT is longer than 16 KiB")
		}
		epoch := d.opts.JWT.Epoch()
		return d.remember(ctx, token, epoch, func() (*identity.Identity, error) {
			id, err := d.opts.JWT.Verify(ctx, token[len(presigned.Prefix):])
			return &id, err
		})
	}
	if d.opts.RefusePresigned {
		return nil, reason.New(reason.TokenKindOff, "this cluster takes JWTs only: server.tokens does not list presigned")
	}
	parsed, err := d.opts.Presigned.Parse(token, d.opts.Now())
	if err != nil {
		return nil, err
	}
	return d.remember(ctx, token, 0, func() (*identity.Identity, error) {
		id, err := d.opts.STS.Identify(ctx, parsed)
		if err != nil && reason.Of(err).Code == reason.STSThrottled {
			d.opts.Metrics.STSThrottled(stsclient.RegionLabel(parsed.Host))
		}
		return &id, err
	})
}

// remember looks a token up among the verified ones, or has it verified.
func (d *Decider) remember(ctx context.Context, token string, epoch uint64, verify func() (*identity.Identity, error)) (*identity.Identity, error) {
	var k tokenKey
	if d.cache.remembers() {
		k = keyOf(token)
		if id := d.cache.get(k, d.opts.Now(), epoch); id != nil {
			d.opts.Metrics.Cache("hit")
			return id, nil
		}
	}
	id, shared, err := d.cache.share(ctx, token, verify)
	if shared {
		d.opts.Metrics.Cache("shared")
	} else {
		d.opts.Metrics.Cache("miss")
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, reason.Wrap(reason.Overloaded, "the API server did not wait for the answer", err)
		}
		return nil, err
	}
	if !shared {
		d.cache.put(k, id, d.opts.Now(), epoch)
	}
	return id, nil
}

func lookupDenial(err error, canonical string) error {
	switch {
	case errors.Is(err, backend.ErrNotLoaded):
		return reason.Wrap(reason.NotReady, err.Error(), err)
	case errors.Is(err, mapping.ErrUserIDMismatch):
		return reason.Wrap(reason.UserIDMismatch, canonical+": its user ID is mapped to another ARN", err)
	}
	return reason.Wrap(reason.NotMapped, canonical+" is not mapped: that is the ARN to map", err)
}

// render makes the Kubernetes user of a match.
func (d *Decider) render(ctx context.Context, match *mapping.Match, id *identity.Identity, dec *Decision) error {
	values := mapping.Values{AccountID: id.ARN.Account, SessionName: id.SessionName, AccessKeyID: id.AccessKeyID}
	if needsNodeName(match) {
		name, err := d.nodeName(ctx, id)
		if err != nil {
			return err
		}
		values.EC2PrivateDNSName = name
	}
	username, err := match.Username.Render(values.Value)
	if err == nil && username == "" {
		err = errEmptyName
	}
	if err != nil {
		return reason.Wrap(reason.TemplateUnfilled, "username "+quoted(match.Username.String())+" for "+id.Canonical+": "+err.Error(), err)
	}
	if !match.AccountFallback {
		if prefix, reserved := mapping.ReservedPrefix(username, d.opts.ReservedPrefixes[match.Source]); reserved {
			return reason.New(reason.ReservedName, "username "+quoted(username)+" for "+id.Canonical+" starts with "+quoted(prefix)+", which is reserved in "+match.Source)
		}
	}
	dec.Username = username
	if len(match.Groups) == 0 {
		return nil
	}
	dec.Groups = make([]string, len(match.Groups))
	for i, g := range match.Groups {
		if dec.Groups[i], err = g.Render(values.Value); err == nil && dec.Groups[i] == "" {
			err = errEmptyName
		}
		if err != nil {
			return reason.Wrap(reason.TemplateUnfilled, "group "+quoted(g.String())+" for "+id.Canonical+": "+err.Error(), err)
		}
	}
	return nil
}

var errEmptyName = errors.New("would be empty")

func needsNodeName(match *mapping.Match) bool {
	has := func(t mapping.Template) bool { return slices.Contains(t.Variables(), mapping.VarEC2PrivateDNSName) }
	return has(match.Username) || slices.ContainsFunc(match.Groups, has)
}

func (d *Decider) nodeName(ctx context.Context, id *identity.Identity) (string, error) {
	if !mapping.IsInstanceID(id.InstanceID) {
		return "", reason.New(reason.TemplateUnfilled, "{{EC2PrivateDNSName}} for "+id.Canonical+": the token is not an EC2 instance's")
	}
	if d.opts.NodeNames == nil {
		return "", reason.New(reason.TemplateUnfilled, "{{EC2PrivateDNSName}} for "+id.Canonical+": there is nobody to ask for it")
	}
	return d.opts.NodeNames.PrivateDNSName(ctx, id.InstanceID)
}
