package token

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/capiam/capiam/pkg/stssim"
)

func TestJWTVerifiesWithItsIssuersKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.state.IssuerURL(account)
	var keys jose.JSONWebKeySet
	res, err := w.client.Get(issuer + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&keys); err != nil {
		t.Fatal(err)
	}
	short := func(id *stssim.Identity) { id.Lifetime, id.Profile = 3*time.Minute, "short" }

	for name, test := range map[string]struct {
		opts     Options
		alg      string
		aud      string
		sub      string
		lifetime time.Duration
		margin   time.Duration
	}{
		"as it comes":        {Options{Credentials: w.ensure(t, roleARN)}, RS256, cluster, roleARN, 5 * time.Minute, time.Minute},
		"ES384":              {Options{Credentials: w.ensure(t, userARN), Algorithm: ES384}, ES384, cluster, userARN, 5 * time.Minute, time.Minute},
		"audience":           {Options{Credentials: w.ensure(t, userARN), Audience: "sts.amazonaws.com"}, RS256, "sts.amazonaws.com", userARN, 5 * time.Minute, time.Minute},
		"an hour":            {Options{Credentials: w.ensure(t, userARN), Duration: time.Hour}, RS256, cluster, userARN, time.Hour, time.Minute},
		"a minute":           {Options{Credentials: w.ensure(t, userARN), Duration: time.Minute}, RS256, cluster, userARN, time.Minute, 15 * time.Second},
		"role assumed":       {Options{Credentials: w.ensure(t, userARN), RoleARN: roleARN}, RS256, cluster, roleARN, 5 * time.Minute, time.Minute},
		"credentials ending": {Options{Credentials: w.ensure(t, roleARN, short)}, RS256, cluster, roleARN, 175 * time.Second, 175 * time.Second / 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := test.opts
			opts.ClusterID, opts.Region, opts.HTTPClient = cluster, region, w.client
			tok, err := JWT(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := strings.CutPrefix(tok.Value, Prefix)
			if !ok {
				t.Fatal("the token has another prefix")
			}
			parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(test.alg)})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			if err := parsed.Claims(keys, &claims); err != nil {
				t.Fatal(err)
			}
			if claims.Issuer != issuer || claims.Subject != test.sub || len(claims.Audience) != 1 || claims.Audience[0] != test.aud || claims.ID == "" {
				t.Errorf("claims %+v", claims)
			}
			exp := claims.Expiry.Time()
			// The tests' machine may be slow between two readings of the clock.
			if d := exp.Sub(claims.IssuedAt.Time()) - test.lifetime; d.Abs() > 10*time.Second {
				t.Errorf("lives %s too long", d)
			}
			if d := exp.Sub(tok.Expiry) - test.margin; d.Abs() > 10*time.Second {
				t.Errorf("margin is off by %s", d)
			}
		})
	}
}

func TestJWTExpiryIsNeverLaterThanTheCredentials(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for left, want := range map[time.Duration]int32{
		time.Hour:         0,
		305 * time.Second: 0,
		304 * time.Second: 299,
		2 * time.Minute:   115,
		30 * time.Second:  60,
	} {
		s := session{credentials: aws.Credentials{CanExpire: true, Expires: now.Add(left)}}
		if got := aws.ToInt32(s.jwtSeconds(0, now)); got != want {
			t.Errorf("credentials with %s left: JWT of %d s, want %d", left, got, want)
		}
		if end := s.limit(now.Add(24 * time.Hour)); !end.Equal(now.Add(left)) {
			t.Errorf("credentials with %s left: expiry %s", left, end)
		}
	}
	for lifetime, want := range map[time.Duration]time.Duration{
		time.Hour: time.Minute, 5 * time.Minute: time.Minute, 2 * time.Minute: 30 * time.Second, time.Minute: 15 * time.Second, -time.Minute: 0,
	} {
		if got := jwtMargin(lifetime); got != want {
			t.Errorf("margin of %s is %s, want %s", lifetime, got, want)
		}
	}
}

func TestJWTRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.ensure(t, "arn:aws:iam::444455556666:user/Off")
	w.state.SetFederation("444455556666", false)
	ending := w.ensure(t, roleARN, func(id *stssim.Identity) { id.Lifetime = 30 * time.Second })
	unknown := fixedCredentials{aws.Credentials{AccessKeyID: exampleK, SecretAccessKey: "secret"}}
	for name, test := range map[string]struct {
		opts Options
		want string
	}{
		"not switched on":     {Options{Credentials: other, Region: region}, "aws iam enable-outbound-web-identity-federation"},
		"credentials ending":  {Options{Credentials: ending, Region: region}, "renew them"},
		"unknown credentials": {Options{Credentials: unknown, Region: region}, "AWS_PROFILE"},
		"global endpoint":     {Options{Credentials: other, Region: "aws-global"}, "regional"},
	} {
		opts := test.opts
		opts.ClusterID, opts.HTTPClient = cluster, w.client
		tok, err := JWT(t.Context(), opts)
		if err == nil || tok.Value != "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
			continue
		}
		creds, _ := opts.Credentials.Retrieve(t.Context())
		noSecrets(t, err.Error(), creds.SecretAccessKey, creds.SessionToken)
	}
	if _, err := JWT(t.Context(), Options{ClusterID: cluster, Region: region, Credentials: unknown, HTTPClient: w.client}); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("%v is no ErrNoCredentials", err)
	}
}

// TestJWTWithoutAToken has an STS that answers well-formed nonsense.
func TestJWTWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	creds := w.ensure(t, userARN)
	for name, body := range map[string]string{
		"empty":        `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		"no dots":      `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>abc</WebIdentityToken><Expiration>2030-01-01T00:00:00Z</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		"no end":       `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>a.b.c</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		"not XML":      "}{",
		"another root": "<html></html>",
	} {
		w.server.SetFaults(stssim.Faults{{Kind: stssim.FaultStatus, Status: http.StatusOK, Body: body}})
		if tok, err := JWT(t.Context(), Options{ClusterID: cluster, Region: region, Credentials: creds, HTTPClient: w.client}); err == nil || tok.Value != "" {
			t.Errorf("%s: a token came of it", name)
		}
	}
}
