package webidentity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// The algorithms AWS offers. No other is ever accepted, whatever a key or a
// token says.
const (
	algRS256 = "RS256"
	algES384 = "ES384"
)

// maxKeys is how many keys of an issuer are kept; AWS publishes two.
const maxKeys = 64

// keySet is an issuer's public keys. Kids are generic ("RSA_0"), so a set is
// never shared between issuers, and a kid may name a key of each type.
type keySet struct {
	rsa map[string]*rsa.PublicKey
	ec  map[string]*ecdsa.PublicKey
}

func (k *keySet) has(alg, kid string) bool {
	if k == nil {
		return false
	}
	if alg == algRS256 {
		return k.rsa[kid] != nil
	}
	return k.ec[kid] != nil
}

func (k *keySet) empty() bool { return len(k.rsa) == 0 && len(k.ec) == 0 }

// same tells whether both sets have the same key, or none, for alg and kid.
func (k *keySet) same(other *keySet, alg, kid string) bool {
	if !k.has(alg, kid) || !other.has(alg, kid) {
		return k.has(alg, kid) == other.has(alg, kid)
	}
	if alg == algRS256 {
		return k.rsa[kid].Equal(other.rsa[kid])
	}
	return k.ec[kid].Equal(other.ec[kid])
}

// within tells whether every key of k is in other too.
func (k *keySet) within(other *keySet) bool {
	for kid, key := range k.rsa {
		if o := other.rsa[kid]; o == nil || !key.Equal(o) {
			return false
		}
	}
	for kid, key := range k.ec {
		if o := other.ec[kid]; o == nil || !key.Equal(o) {
			return false
		}
	}
	return true
}

// verify checks a signature.
func (k *keySet) verify(alg, kid string, signed, signature []byte) bool {
	if alg == algRS256 {
		key := k.rsa[kid]
		sum := sha256.Sum256(signed)
		return key != nil && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	key := k.ec[kid]
	if key == nil || len(signature) != 96 {
		return false
	}
	sum := sha512.Sum384(signed)
	r, s := new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])
	return ecdsa.Verify(key, sum[:], r, s)
}

// jwk is one key of a JWKS (RFC 7517, 7518).
type jwk struct {
	Kty string  `json:"kty"`
	Kid string  `json:"kid"`
	Use lenient `json:"use"`
	Alg lenient `json:"alg"`
	N   string  `json:"n"`
	E   string  `json:"e"`
	Crv string  `json:"crv"`
	X   string  `json:"x"`
	Y   string  `json:"y"`
}

// parseKeySet reads a JWKS. Keys of other kinds are passed over, as RFC 7517
// asks; a set without a single usable key is an error, so that it does not
// replace a good one.
func parseKeySet(data []byte) (*keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, errors.New("key set is not JSON of the expected form")
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("key set has %d keys, more than %d", len(doc.Keys), maxKeys)
	}
	set := &keySet{rsa: map[string]*rsa.PublicKey{}, ec: map[string]*ecdsa.PublicKey{}}
	for _, raw := range doc.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) != nil || k.Kid == "" || k.Use != "" && k.Use != "sig" {
			continue
		}
		switch {
		case k.Kty == "RSA" && (k.Alg == "" || k.Alg == algRS256):
			if key := k.rsaKey(); key != nil {
				set.rsa[k.Kid] = key
			}
		case k.Kty == "EC" && k.Crv == "P-384" && (k.Alg == "" || k.Alg == algES384):
			if key := k.ecKey(); key != nil {
				set.ec[k.Kid] = key
			}
		}
	}
	if set.empty() {
		return nil, errors.New("key set has no key for RS256 or ES384")
	}
	return set, nil
}

func (k *jwk) rsaKey() *rsa.PublicKey {
	n, err1 := decode(strings.TrimRight(k.N, "="))
	e, err2 := decode(strings.TrimRight(k.E, "="))
	if err1 != nil || err2 != nil || len(e) == 0 || len(e) > 4 {
		return nil
	}
	modulus, exponent := new(big.Int).SetBytes(n), int(new(big.Int).SetBytes(e).Int64())
	// Shorter keys are weak, longer ones a way to burn CPU.
	if bits := modulus.BitLen(); bits < 2048 || bits > 4096 || exponent < 3 || exponent > 1<<31-1 || exponent%2 == 0 {
		return nil
	}
	return &rsa.PublicKey{N: modulus, E: exponent}
}

func (k *jwk) ecKey() *ecdsa.PublicKey {
	x, err1 := decode(strings.TrimRight(k.X, "="))
	y, err2 := decode(strings.TrimRight(k.Y, "="))
	if err1 != nil || err2 != nil || len(x) != 48 || len(y) != 48 {
		return nil
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	if err != nil {
		return nil // not on the curve
	}
	return key
}
