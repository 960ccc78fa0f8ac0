package webidentity

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	r, _ := keysOnce()
	b64 := base64.RawURLEncoding.EncodeToString
	n := b64(r.N.Bytes())
	for name, tc := range map[string]struct {
		key string
		ok  bool
	}{
		"plain":             {`{"kty":"RSA","kid":"a","n":"` + n + `","e":"AQAB"}`, true},
		"for encryption":    {`{"kty":"RSA","kid":"a","use":"enc","n":"` + n + `","e":"AQAB"}`, false},
		"another algorithm": {`{"kty":"RSA","kid":"a","alg":"RS512","n":"` + n + `","e":"AQAB"}`, false},
		"no kid":            {`{"kty":"RSA","n":"` + n + `","e":"AQAB"}`, false},
		"short":             {`{"kty":"RSA","kid":"a","n":"` + n[:100] + `","e":"AQAB"}`, false},
		"even exponent":     {`{"kty":"RSA","kid":"a","n":"` + n + `","e":"Ag"}`, false},
		"huge exponent":     {`{"kty":"RSA","kid":"a","n":"` + n + `","e":"` + strings.Repeat("A", 40) + `"}`, false},
		"off the curve":     {`{"kty":"EC","kid":"a","crv":"P-384","x":"` + b64(make([]byte, 48)) + `","y":"` + b64(make([]byte, 48)) + `"}`, false},
		"another curve":     {`{"kty":"EC","kid":"a","crv":"P-256","x":"AA","y":"AA"}`, false},
	} {
		if _, err := parseKeySet([]byte(`{"keys":[` + tc.key + `]}`)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := strings.TrimSuffix(strings.Repeat(`{"kty":"x"},`, maxKeys+1), ",")
	if _, err := parseKeySet([]byte(`{"keys":[` + many + `]}`)); err == nil {
		t.Error("any number of keys is accepted")
	}
}

func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"},{"kty":"EC","kid":"b","crv":"P-384","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if set, err := parseKeySet(data); err == nil && set.empty() {
			t.Error("an empty set")
		}
	})
}

func benchmark(b *testing.B, alg, kid string) {
	i := newIssuers(b)
	tok := sign(b, alg, kid, i.claims())
	if _, err := i.v.Verify(context.Background(), tok); err != nil {
		b.Fatal(err)
	}
	p, err := parse(tok)
	if err != nil {
		b.Fatal(err)
	}
	keys := i.v.issuers[issuerURL].keys.Load()
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if !keys.verify(alg, kid, p.signed, p.signature) {
				b.Fatal("bad")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.v.Verify(context.Background(), tok); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRS256(b *testing.B) { benchmark(b, "RS256", "RSA_0") }

func BenchmarkES384(b *testing.B) { benchmark(b, "ES384", "EC384_0") }
