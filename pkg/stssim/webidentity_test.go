package stssim

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// get fetches a document from an issuer.
func (w *world) get(t *testing.T, url string, v any) {
	t.Helper()
	res, err := w.client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", url, res.Status, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// verify checks a token with the keys its issuer publishes.
func (w *world) verify(t *testing.T, issuer, token string) (map[string]any, error) {
	t.Helper()
	var discovery struct {
		Issuer string
		JWKS   string `json:"jwks_uri"`
	}
	w.get(t, issuer+"/.well-known/openid-configuration", &discovery)
	if discovery.Issuer != issuer {
		t.Errorf("the issuer calls itself %s, want %s", discovery.Issuer, issuer)
	}
	var keys jose.JSONWebKeySet
	w.get(t, discovery.JWKS, &keys)
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES384})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	return claims, parsed.Claims(keys, &claims)
}

func TestWebIdentityToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.state.IssuerURL(account)
	role := Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef"), Session: "alice@example.com"}
	user := Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/div/Alice")}

	for name, test := range map[string]struct {
		identity Identity
		in       sts.GetWebIdentityTokenInput
		kid      string
		aud      any
		lifetime float64
		tags     any
	}{
		"RS256 for a role": {
			role,
			sts.GetWebIdentityTokenInput{Audience: []string{"cluster"}, SigningAlgorithm: aws.String("RS256")},
			"RSA_0", "cluster", 300, nil,
		},
		"ES384 for a user": {
			user,
			sts.GetWebIdentityTokenInput{
				Audience: []string{"b", "https://a.example.com/ä"}, SigningAlgorithm: aws.String("ES384"), DurationSeconds: aws.Int32(3600),
				Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a b")}},
			},
			"EC384_0", []any{"b", "https://a.example.com/ä"}, 3600, map[string]any{"team": "a b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := w.sts(region, w.state.Ensure(test.identity)).GetWebIdentityToken(t.Context(), &test.in)
			if err != nil {
				t.Fatal(err)
			}
			claims, err := w.verify(t, issuer, *out.WebIdentityToken)
			if err != nil {
				t.Fatal(err)
			}
			parsed, _ := jwt.ParseSigned(*out.WebIdentityToken, []jose.SignatureAlgorithm{jose.RS256, jose.ES384})
			if kid := parsed.Headers[0].KeyID; kid != test.kid {
				t.Errorf("kid %s, want %s", kid, test.kid)
			}
			arn := test.identity.ARN.String()
			if claims["iss"] != issuer || claims["sub"] != arn || !reflect.DeepEqual(claims["aud"], test.aud) {
				t.Errorf("claims %v", claims)
			}
			if id, _ := claims["jti"].(string); len(id) < 16 {
				t.Errorf("jti %q", id)
			}
			exp, iat := claims["exp"].(float64), claims["iat"].(float64)
			if exp-iat != test.lifetime || int64(exp) != out.Expiration.Unix() {
				t.Errorf("lives from %v to %v, the answer says %v", iat, exp, out.Expiration)
			}
			want := map[string]any{"aws_account": account, "source_region": region, "principal_id": arn}
			if test.tags != nil {
				want["request_tags"] = test.tags
			}
			if got := claims["https://sts.amazonaws.com/"]; !reflect.DeepEqual(got, want) {
				t.Errorf("claims of STS %v, want %v", got, want)
			}
			if _, ok := claims["nbf"]; ok {
				t.Error("has nbf, which STS leaves out")
			}
		})
	}
}

func TestPublishedKeysLookLikeSTSs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var set struct{ Keys []map[string]string }
	w.get(t, w.state.IssuerURL(account)+"/.well-known/jwks.json", &set)
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys, want 2", len(set.Keys))
	}
	for i, want := range []map[string]string{
		{"kid": "RSA_0", "kty": "RSA", "use": "sig"},
		{"kid": "EC384_0", "kty": "EC", "use": "sig", "alg": "ES384", "crv": "P-384"},
	} {
		for k, v := range want {
			if set.Keys[i][k] != v {
				t.Errorf("key %d: %s is %q, want %q", i, k, set.Keys[i][k], v)
			}
		}
		if _, has := set.Keys[i]["d"]; has {
			t.Error("a private key is published")
		}
	}
	if _, has := set.Keys[0]["alg"]; has {
		t.Error("the RSA key has an alg; STS's has none")
	}
}

func TestWebIdentityTokenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})
	short := w.state.Ensure(Identity{Profile: "short", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev"), Lifetime: 2 * time.Minute})
	w.state.Ensure(Identity{Profile: "off", ARN: mustARN(t, "arn:aws:iam::444455556666:user/Off")})
	w.state.SetFederation(otherAccount, false)
	off := w.state.Ensure(Identity{Profile: "off", ARN: mustARN(t, "arn:aws:iam::444455556666:user/Off")})

	many := func(n int) (tags []types.Tag) {
		for i := range n {
			tags = append(tags, types.Tag{Key: aws.String(strings.Repeat("k", 100) + string(rune('A'+i))), Value: aws.String(strings.Repeat("v", 250))})
		}
		return tags
	}
	for name, test := range map[string]struct {
		creds  *Credentials
		region string
		change func(*sts.GetWebIdentityTokenInput)
		code   string
	}{
		"good":               {user, region, nil, ""},
		"global endpoint":    {user, "aws-global", nil, "InvalidAction"},
		"no audience":        {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Audience = []string{} }, "ValidationError"},
		"empty audience":     {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Audience = []string{""} }, "ValidationError"},
		"eleven audiences":   {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Audience = strings.Split("a,b,c,d,e,f,g,h,i,j,k", ",") }, "ValidationError"},
		"ten audiences":      {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Audience = strings.Split("a,b,c,d,e,f,g,h,i,j", ",") }, ""},
		"long audience":      {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Audience = []string{strings.Repeat("a", 1001)} }, "ValidationError"},
		"HMAC":               {user, region, func(in *sts.GetWebIdentityTokenInput) { in.SigningAlgorithm = aws.String("HS256") }, "ValidationError"},
		"too short":          {user, region, func(in *sts.GetWebIdentityTokenInput) { in.DurationSeconds = aws.Int32(59) }, "ValidationError"},
		"too long":           {user, region, func(in *sts.GetWebIdentityTokenInput) { in.DurationSeconds = aws.Int32(3601) }, "ValidationError"},
		"51 tags":            {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Tags = many(51) }, "ValidationError"},
		"payload too big":    {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Tags = many(50) }, "JWTPayloadSizeExceededException"},
		"tag twice":          {user, region, func(in *sts.GetWebIdentityTokenInput) { in.Tags = append(many(1), many(1)...) }, "ValidationError"},
		"outlives the creds": {short, region, nil, "SessionDurationEscalationException"},
		"within the creds":   {short, region, func(in *sts.GetWebIdentityTokenInput) { in.DurationSeconds = aws.Int32(60) }, ""},
		"not switched on":    {off, region, nil, "OutboundWebIdentityFederationDisabledException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &sts.GetWebIdentityTokenInput{Audience: []string{"cluster"}, SigningAlgorithm: aws.String("RS256")}
			if test.change != nil {
				test.change(in)
			}
			_, err := w.sts(test.region, test.creds).GetWebIdentityToken(t.Context(), in)
			if got := code(t, err); got != test.code {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.state.IssuerURL(account)
	client := w.sts(region, w.state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")}))
	token := func() string {
		out, err := client.GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{Audience: []string{"c"}, SigningAlgorithm: aws.String("RS256")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.WebIdentityToken
	}
	old := token()
	if err := w.state.RotateKeys(account, true); err != nil {
		t.Fatal(err)
	}
	newer := token()
	for name, tok := range map[string]string{"old": old, "new": newer} {
		if _, err := w.verify(t, issuer, tok); err != nil {
			t.Errorf("%s token, while both keys are published: %v", name, err)
		}
	}
	parsed, err := jwt.ParseSigned(newer, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	if kid := parsed.Headers[0].KeyID; kid != "RSA_1" {
		t.Errorf("signs with %s, want RSA_1", kid)
	}
	if err := w.state.RotateKeys(account, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(t, issuer, old); err == nil {
		t.Error("a token of a key that is gone still verifies")
	}
	if _, err := w.verify(t, issuer, token()); err != nil {
		t.Error(err)
	}
}
