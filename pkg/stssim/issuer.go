package stssim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/uuid"

	"github.com/capiam/capiam/pkg/iam"
)

// issuer is one account's token issuer.
type issuer struct {
	UUID string `json:"uuid"`
	// Disabled says that the account has not switched federation on.
	Disabled bool `json:"disabled,omitempty"`
	// Keys are published, all of them. The last of each algorithm signs.
	Keys []*issuerKey `json:"keys"`
}

type issuerKey struct {
	KID string `json:"kid"`
	// Alg is RS256 or ES384.
	Alg string `json:"alg"`
	// PEM is the private key, in PKCS #8.
	PEM string `json:"pem"`

	signer crypto.Signer
}

// jwk is a public key as an issuer publishes it.
type jwk struct {
	KTY string `json:"kty"`
	Use string `json:"use"`
	KID string `json:"kid"`
	Alg string `json:"alg,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	CRV string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// Algorithms GetWebIdentityToken signs with.
const (
	algRS256 = "RS256"
	algES384 = "ES384"
)

// IssuerURL returns the account's token issuer, and makes it if there is none
// yet. It is empty in a partition where STS issues no tokens.
func (s *State) IssuerURL(account string) string {
	host := s.ensureIssuer(account)
	if host == "" {
		return ""
	}
	return "https://" + host
}

// SetFederation switches an account's outbound identity federation on or off;
// it is on at first.
func (s *State) SetFederation(account string, enabled bool) {
	s.ensureIssuer(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	if is := s.data.Issuers[account]; is != nil {
		is.Disabled = !enabled
	}
}

// RotateKeys gives an account's issuer new keys, with new key IDs, to sign with
// from now on. The old ones stay published if keepOld is set.
func (s *State) RotateKeys(account string, keepOld bool) error {
	if s.ensureIssuer(account) == "" {
		return fmt.Errorf("account %s: STS issues no tokens in partition %s", account, s.Partition())
	}
	s.mu.RLock()
	generation := 0
	if is := s.data.Issuers[account]; is != nil {
		generation = is.generation() + 1
	}
	s.mu.RUnlock()
	keys, err := newIssuerKeys(generation)
	if err != nil {
		return fmt.Errorf("rotate the keys of account %s: %w", account, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.data.Issuers[account]
	if is == nil {
		return fmt.Errorf("rotate the keys of account %s: its issuer is gone", account)
	}
	if keepOld {
		keys = append(append([]*issuerKey{}, is.Keys...), keys...)
	}
	is.Keys = keys
	return nil
}

// ensureIssuer returns the host of the account's issuer. Making keys takes up
// to a second, so it is done without holding the lock; if two callers do it at
// once the first one's keys count.
func (s *State) ensureIssuer(account string) string {
	s.mu.RLock()
	partition := s.data.Partition
	is, ok := s.data.Issuers[account]
	s.mu.RUnlock()
	if ok {
		return issuerHost(partition, is.UUID)
	}
	if p, ok := iam.LookupPartition(partition); !ok || p.TokenIssuerSuffix == "" || !iam.IsAccountID(account) {
		return ""
	}
	keys, err := newIssuerKeys(0)
	if err != nil {
		// Only a broken source of randomness gets here; the account then has
		// no issuer, and says so when asked for a token.
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is, ok = s.data.Issuers[account]
	if !ok {
		is = &issuer{UUID: uuid.NewString(), Keys: keys}
		s.data.Issuers[account] = is
		s.accounts[issuerHost(partition, is.UUID)] = account
	}
	return issuerHost(partition, is.UUID)
}

// issuerHost returns the host name of an issuer.
func issuerHost(partition, id string) string {
	p, ok := iam.LookupPartition(partition)
	if !ok || p.TokenIssuerSuffix == "" {
		return ""
	}
	return id + "." + p.TokenIssuerSuffix
}

// newIssuerKeys makes one key for each algorithm. The first generation has the
// key IDs that STS was seen to use.
func newIssuerKeys(generation int) ([]*issuerKey, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	keys := []*issuerKey{
		{KID: fmt.Sprintf("RSA_%d", generation), Alg: algRS256, signer: rsaKey},
		{KID: fmt.Sprintf("EC384_%d", generation), Alg: algES384, signer: ecKey},
	}
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.signer)
		if err != nil {
			return nil, err
		}
		k.PEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return keys, nil
}

// load reads the keys of an issuer that came from a file.
func (is *issuer) load() error {
	if _, err := uuid.Parse(is.UUID); err != nil {
		return fmt.Errorf("uuid: %w", err)
	}
	for _, k := range is.Keys {
		if k == nil {
			return errors.New("a key is null")
		}
		signer, err := parseKey(k.PEM)
		if err != nil {
			return fmt.Errorf("key %s: %w", k.KID, err)
		}
		switch key := signer.(type) {
		case *rsa.PrivateKey:
			if k.Alg != algRS256 {
				return fmt.Errorf("key %s: an RSA key cannot sign %s", k.KID, k.Alg)
			}
		case *ecdsa.PrivateKey:
			if k.Alg != algES384 || key.Curve != elliptic.P384() {
				return fmt.Errorf("key %s: this EC key cannot sign %s", k.KID, k.Alg)
			}
		default:
			return fmt.Errorf("key %s: type %T is not used here", k.KID, signer)
		}
		k.signer = signer
	}
	return nil
}

// generation returns the number of the newest keys.
func (is *issuer) generation() int {
	newest := -1
	for _, k := range is.Keys {
		var n int
		if _, err := fmt.Sscanf(k.KID, "RSA_%d", &n); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}

// signingKey returns the newest key for the algorithm.
func (is *issuer) signingKey(alg string) (*issuerKey, bool) {
	for i := len(is.Keys) - 1; i >= 0; i-- {
		if is.Keys[i].Alg == alg {
			return is.Keys[i], true
		}
	}
	return nil, false
}

// public returns the key as it is published. STS was seen to leave alg out for
// its RSA key, so this does too.
func (k *issuerKey) public() jwk {
	enc := base64.RawURLEncoding.EncodeToString
	switch pub := k.signer.Public().(type) {
	case *rsa.PublicKey:
		return jwk{KTY: "RSA", Use: "sig", KID: k.KID, N: enc(pub.N.Bytes()), E: enc(big.NewInt(int64(pub.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			return jwk{}
		}
		half := (len(point) - 1) / 2
		return jwk{KTY: "EC", Use: "sig", KID: k.KID, Alg: k.Alg, CRV: "P-384", X: enc(point[1 : 1+half]), Y: enc(point[1+half:])}
	default:
		return jwk{}
	}
}
