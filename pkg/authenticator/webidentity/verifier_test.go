package webidentity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/reason"
)

const (
	issuerURL = "https://01234567-89ab-cdef.tokens.sts.global.api.aws"
	otherURL  = "https://fedcba98-7654-3210.tokens.sts.global.api.aws"
	account   = "111122223333"
)

var keysOnce = sync.OnceValues(func() (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return r, e
})

// issuers serves discovery documents and key sets for any issuer's host.
type issuers struct {
	t      testing.TB
	mu     sync.Mutex
	keys   []map[string]string
	broken bool
	body   []byte // in place of the key set
	uri    string // in place of the jwks_uri
	fetch  int
	clock  time.Time
	v      *Verifier
	// hold is called before each request is answered, if set.
	hold func()
}

func newIssuers(t testing.TB) *issuers {
	i := &issuers{t: t, clock: time.Now()}
	i.keys = i.publicKeys("RSA_0", "EC384_0")
	srv := httptest.NewTLSServer(i)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	i.v = New(Options{
		Issuers:   []Issuer{{URL: issuerURL, Account: account}, {URL: otherURL, Account: "444455556666"}},
		Audiences: []string{"my-cluster", "kubernetes"}, Partition: "aws", Now: i.now,
		Network: outbound.Network{
			TLS: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
			},
		},
	})
	t.Cleanup(i.v.Close)
	return i
}

func (i *issuers) now() time.Time { i.mu.Lock(); defer i.mu.Unlock(); return i.clock }

func (i *issuers) set(change func()) { i.mu.Lock(); defer i.mu.Unlock(); change() }

func (i *issuers) fetches() int { i.mu.Lock(); defer i.mu.Unlock(); return i.fetch }

func (i *issuers) publicKeys(rsaKid, ecKid string) []map[string]string {
	r, e := keysOnce()
	b64 := base64.RawURLEncoding.EncodeToString
	point, err := e.PublicKey.Bytes()
	if err != nil {
		i.t.Fatal(err)
	}
	return []map[string]string{
		{"kty": "RSA", "kid": rsaKid, "use": "sig", "n": b64(r.N.Bytes()), "e": b64(big.NewInt(int64(r.E)).Bytes())},
		{"kty": "EC", "kid": ecKid, "alg": "ES384", "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:])},
		{"kty": "oct", "kid": "secret", "k": "AAAA"},
	}
}

func (i *issuers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	hold := i.hold
	i.mu.Unlock()
	if hold != nil {
		hold()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetch++
	issuer := "https://" + r.Host
	switch {
	case i.broken:
		w.WriteHeader(500)
	case r.URL.Path == "/.well-known/openid-configuration":
		uri := issuer + "/.well-known/jwks.json"
		if i.uri != "" {
			uri = i.uri
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": uri})
	case i.body != nil:
		_, _ = w.Write(i.body)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	}
}

// claimsFor returns a good token's claims.
func (i *issuers) claims() map[string]any {
	now := i.now().Unix()
	return map[string]any{
		"iss": issuerURL, "aud": "my-cluster", "sub": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef",
		"iat": now, "exp": now + 300, "jti": "jti-1",
		"https://sts.amazonaws.com/": map[string]any{"aws_account": account, "ou_path": []string{"a"}, "principal_tags": map[string]string{"x": "y"}},
	}
}

func sign(t testing.TB, alg, kid string, claims map[string]any) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	h, _ := json.Marshal(map[string]string{"alg": alg, "kid": kid, "typ": "JWT"})
	c, _ := json.Marshal(claims)
	signed := b64(h) + "." + b64(c)
	r, e := keysOnce()
	var sig []byte
	var err error
	switch alg {
	case "RS256":
		sum := sha256.Sum256([]byte(signed))
		sig, err = rsa.SignPKCS1v15(rand.Reader, r, crypto.SHA256, sum[:])
	case "ES384":
		sum := sha512.Sum384([]byte(signed))
		var x, y *big.Int
		if x, y, err = ecdsa.Sign(rand.Reader, e, sum[:]); err == nil {
			sig = append(x.FillBytes(make([]byte, 48)), y.FillBytes(make([]byte, 48))...)
		}
	default:
		sig = []byte("x")
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

func code(err error) reason.Code {
	if err == nil {
		return reason.OK
	}
	var d *reason.Denial
	if !errors.As(err, &d) {
		return "no denial"
	}
	return d.Code
}

func TestVerify(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	for alg, kid := range map[string]string{"RS256": "RSA_0", "ES384": "EC384_0"} {
		id, err := i.v.Verify(context.Background(), sign(t, alg, kid, i.claims()))
		if err != nil {
			t.Fatal(err)
		}
		if id.Canonical != "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef" || id.JTI != "jti-1" || id.UserID != "" || id.SessionName != "" || id.AccessKeyID != "" {
			t.Errorf("got %+v", id)
		}
	}
	aws := func(k string, v any) func(map[string]any) {
		return func(c map[string]any) { c["https://sts.amazonaws.com/"].(map[string]any)[k] = v }
	}
	set := func(k string, v any) func(map[string]any) { return func(c map[string]any) { c[k] = v } }
	now := i.now().Unix()
	for _, tc := range []struct {
		name, alg, kid string
		edit           func(map[string]any)
		want           reason.Code
	}{
		{"audience in a list", "RS256", "RSA_0", set("aud", []string{"x", "kubernetes"}), reason.OK},
		{"fractions of a second", "RS256", "RSA_0", set("exp", float64(now)+300.5), reason.OK},
		{"odd account of another type elsewhere", "RS256", "RSA_0", aws("org_id", 5), reason.OK},
		{"none", "none", "RSA_0", set("x", 1), reason.Malformed},
		{"HMAC", "HS256", "RSA_0", set("x", 1), reason.Malformed},
		{"RS512", "RS512", "RSA_0", set("x", 1), reason.Malformed},
		{"no kid", "RS256", "", set("x", 1), reason.Malformed},
		{"unknown issuer", "RS256", "RSA_0", set("iss", "https://evil.tokens.sts.global.api.aws"), reason.UnknownIssuer},
		{"issuer with a slash", "RS256", "RSA_0", set("iss", issuerURL+"/"), reason.UnknownIssuer},
		{"another's issuer", "RS256", "RSA_0", set("iss", otherURL), reason.WrongAccount},
		{"audience", "RS256", "RSA_0", set("aud", "another"), reason.WrongAudience},
		{"audience's case", "RS256", "RSA_0", set("aud", "My-Cluster"), reason.WrongAudience},
		{"no audience", "RS256", "RSA_0", set("aud", nil), reason.WrongAudience},
		{"a session", "RS256", "RSA_0", set("sub", "arn:aws:sts::111122223333:assumed-role/Dev/alice"), reason.Malformed},
		{"expired", "RS256", "RSA_0", set("exp", now-31), reason.Expired},
		{"just expired", "RS256", "RSA_0", set("exp", now-29), reason.OK},
		{"from the future", "RS256", "RSA_0", set("iat", now+31), reason.ClockBehind},
		{"no exp", "RS256", "RSA_0", set("exp", nil), reason.Malformed},
		{"no iat", "RS256", "RSA_0", set("iat", nil), reason.Malformed},
		{"exp as text", "RS256", "RSA_0", set("exp", "soon"), reason.Malformed},
		{"account in sub", "RS256", "RSA_0", set("sub", "arn:aws:iam::444455556666:role/R"), reason.WrongAccount},
		{"account claim", "RS256", "RSA_0", aws("aws_account", "444455556666"), reason.WrongAccount},
		{"no account claim", "RS256", "RSA_0", aws("aws_account", nil), reason.WrongAccount},
		{"sub", "RS256", "RSA_0", set("sub", "somebody"), reason.Malformed},
		{"partition", "RS256", "RSA_0", set("sub", "arn:aws-cn:iam::111122223333:role/R"), reason.WrongPartition},
		{"unknown key", "RS256", "RSA_9", set("x", 1), reason.UnknownKey},
		{"key of the other kind", "ES384", "RSA_0", set("x", 1), reason.UnknownKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := i.claims()
			tc.edit(c)
			if _, err := i.v.Verify(context.Background(), sign(t, tc.alg, tc.kid, c)); code(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestOneSpelling(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	tok := sign(t, "ES384", "EC384_0", i.claims())
	if _, err := i.v.Verify(context.Background(), tok); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(tok, ".")
	for name, other := range map[string]string{
		"line break": parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:],
		"padding":    tok + "=",
		"four parts": tok + ".x",
		"flipped":    parts[0] + "." + parts[1] + "." + strings.ToUpper(parts[2]),
		"truncated":  tok[:len(tok)-4],
		"empty":      parts[0] + "." + parts[1] + ".",
		"too long":   tok + strings.Repeat("A", MaxBytes),
	} {
		if _, err := i.v.Verify(context.Background(), other); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestKeySetFailures(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	ctx := context.Background()
	verify := func(kid string) reason.Code {
		_, err := i.v.Verify(ctx, sign(t, "RS256", kid, i.claims()))
		return code(err)
	}
	i.set(func() { i.broken = true })
	if got := verify("RSA_0"); got != reason.IssuerUnreachable || !got.Trouble() {
		t.Errorf("never got: %s", got)
	}
	// It is not asked at each token.
	before := i.fetches()
	for range 50 {
		verify("RSA_0")
	}
	if after := i.fetches(); after != before {
		t.Errorf("%d fetches for 50 tokens", after-before)
	}
	i.set(func() { i.broken, i.clock = false, i.clock.Add(retryEvery) })
	if got := verify("RSA_0"); got != reason.OK {
		t.Fatalf("after it came back: %s", got)
	}
	epoch := i.v.Epoch()
	// A rotation: an unknown key is fetched, at most once a minute.
	i.set(func() { i.keys = i.publicKeys("RSA_1", "EC384_1") })
	if got := verify("RSA_1"); got != reason.UnknownKey {
		t.Errorf("within the minute: %s", got)
	}
	i.set(func() { i.clock = i.clock.Add(refetchEvery) })
	if got := verify("RSA_1"); got != reason.OK {
		t.Errorf("after a minute: %s", got)
	}
	if i.v.Epoch() == epoch {
		t.Error("a key has gone, and what it verified is not forgotten")
	}
	before = i.fetches()
	for n := range 100 {
		verify(fmt.Sprintf("bogus-%d", n))
	}
	if after := i.fetches(); after != before {
		t.Errorf("%d fetches for bogus keys", after-before)
	}
	// Bad key sets leave the good one.
	for name, change := range map[string]func(){
		"unreachable":    func() { i.broken = true },
		"garbage":        func() { i.broken, i.body = false, []byte("garbage") },
		"no keys":        func() { i.body = []byte(`{"keys":[]}`) },
		"huge":           func() { i.body = []byte(`{"keys":[` + strings.Repeat(" ", maxKeySet) + `]}`) },
		"another's host": func() { i.body, i.uri = nil, "https://evil.example.com/jwks.json" },
		"no https":       func() { i.uri = "http://01234567-89ab-cdef.tokens.sts.global.api.aws/jwks.json" },
	} {
		i.set(func() { change(); i.clock = i.clock.Add(refetchEvery) })
		verify("unknown") // causes a fetch
		if got := verify("RSA_1"); got != reason.OK {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestForgedTokensAreBounded(t *testing.T) {
	t.Parallel()
	g := newTurnstile(1)
	ctx, cancel := context.WithCancel(context.Background())
	if err := g.enter(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxWaiting {
		wg.Go(func() { _ = g.enter(ctx) })
	}
	for g.waiting.Load() < maxWaiting {
		time.Sleep(time.Millisecond)
	}
	if err := g.enter(ctx); !errors.Is(err, errTurnedAway) {
		t.Errorf("got %v", err)
	}
	cancel()
	wg.Wait()
}

func FuzzParse(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJ4IiwiYXVkIjpbImEiXX0.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := parse(token)
		if err != nil {
			if code(err) != reason.Malformed {
				t.Errorf("got %v", err)
			}
			return
		}
		defer p.free()
		if !strings.HasPrefix(token, string(p.signed)+".") {
			t.Errorf("signed part %q is not of %q", p.signed, token)
		}
	})
}
