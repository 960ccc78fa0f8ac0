package stssim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// keyPair is a certificate with its key, both in PEM.
type keyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// authority is a CA ready to sign, and the key of the certificates it signs.
type authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	leafKey *ecdsa.PrivateKey
}

// permittedNames are the DNS names the CA may vouch for: the partition's STS
// hosts, each by its own name, and the domain below which every account's
// token issuer lives. Issuers come with accounts, later than the CA, and
// programs read a CA once; so the constraint names their domain.
func permittedNames(partition string, hosts *iam.HostSet) []string {
	names := hosts.Names()
	if p, ok := iam.LookupPartition(partition); ok && p.TokenIssuerSuffix != "" {
		names = append(names, p.TokenIssuerSuffix)
	}
	return names
}

// newAuthority makes a CA that can vouch for the names and those below them,
// for ten years.
func newAuthority(names []string, now time.Time) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	_, anyV4, _ := net.ParseCIDR("0.0.0.0/0")
	_, anyV6, _ := net.ParseCIDR("::/0")
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: "capiam simulated STS"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		// A kind of name with no constraint would be free, so IP addresses
		// are excluded by hand.
		ExcludedIPRanges: []*net.IPNet{anyV4, anyV6},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return keyPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{
		Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, nil
}

// authority reads the CA back.
func (p keyPair) authority() (*authority, error) {
	block, _ := pem.Decode([]byte(p.Cert))
	if block == nil {
		return nil, errors.New("cert is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(p.Key)
	if err != nil {
		return nil, err
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("key does not belong to the certificate")
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, leafKey: leafKey}, nil
}

// issue returns a server certificate for one name. It is valid as long as the
// CA: it lives in memory only, and must not depend on a test's clock.
func (a *authority) issue(name string) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{name},
	}
	if len(name) > 64 {
		// More than a common name may have; the DNS name is what counts.
		template.Subject = pkix.Name{}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leafKey, Leaf: leaf}, nil
}

func newSerial() *big.Int {
	b := randomBytes(16)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// parseKey reads a private key in PEM, PKCS #8.
func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T cannot sign", key)
	}
	return signer, nil
}
