package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// DefaultCALifetime is how long a CA is valid.
	DefaultCALifetime = 10 * 365 * 24 * time.Hour
	// DefaultLeafLifetime is how long a leaf certificate is valid.
	DefaultLeafLifetime = 365 * 24 * time.Hour
	// Backdate is how far before its making a certificate starts to be valid,
	// so that a machine whose clock is behind takes it too.
	Backdate = 5 * time.Minute
)

// CAOptions are what NewCA makes a CA from.
type CAOptions struct {
	// CommonName names the CA. It is required.
	CommonName string
	// Lifetime is DefaultCALifetime if 0.
	Lifetime time.Duration
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// NameConstraints restrict which names the CA can vouch for; nil leaves it
	// free.
	NameConstraints *NameConstraints
}

// NameConstraints are the only names of servers that a CA can vouch for (RFC
// 5280, section 4.2.1.10). Of a kind that is left empty, none is permitted.
type NameConstraints struct {
	// DNSDomains permit a name and everything below it.
	DNSDomains []string
	IPRanges   []*net.IPNet
}

// KeyPair is a certificate with its private key, both in PEM.
type KeyPair struct {
	CertPEM []byte
	// KeyPEM is secret.
	KeyPEM []byte
}

// CA signs leaf certificates. It is safe for use by several goroutines.
type CA struct {
	// Cert is the CA's own certificate.
	Cert *x509.Certificate
	KeyPair

	key crypto.Signer
	now func() time.Time
}

// NewCA makes a self-signed CA that can sign leaf certificates but no other CA.
func NewCA(o CAOptions) (*CA, error) {
	if o.CommonName == "" {
		return nil, errors.New("make CA: no common name")
	}
	now := clock(o.Now)
	lifetime := o.Lifetime
	if lifetime == 0 {
		lifetime = DefaultCALifetime
	}
	if lifetime < 0 {
		return nil, fmt.Errorf("make CA %q: negative lifetime %s", o.CommonName, lifetime)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA %q: generate key: %w", o.CommonName, err)
	}
	at := now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: o.CommonName},
		NotBefore:             at.Add(-Backdate),
		NotAfter:              at.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	constrain(template, o.NameConstraints)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA %q: sign: %w", o.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA %q: read back: %w", o.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("make CA %q: %w", o.CommonName, err)
	}
	return &CA{Cert: cert, KeyPair: KeyPair{CertPEM: encodeCert(der), KeyPEM: keyPEM}, key: key, now: now}, nil
}

func constrain(template *x509.Certificate, c *NameConstraints) {
	if c == nil {
		return
	}
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains = c.DNSDomains
	template.PermittedIPRanges = c.IPRanges
	// A kind of name without a permitted entry is unrestricted, so everything
	// of that kind has to be excluded by name.
	if len(c.DNSDomains) == 0 {
		// An empty constraint matches every name.
		template.ExcludedDNSDomains = []string{""}
	}
	if len(c.IPRanges) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
}

// LoadCA reads a CA. The key may be PKCS#8, PKCS#1 or SEC 1. It is an error if
// the certificate is no CA or the key is not its own.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("load CA: certificate %q is not a CA", cert.Subject.CommonName)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("load CA: certificate %q may not sign certificates", cert.Subject.CommonName)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load CA %q: %w", cert.Subject.CommonName, err)
	}
	if !samePublicKey(cert.PublicKey, key.Public()) {
		return nil, fmt.Errorf("load CA %q: the key is not the certificate's", cert.Subject.CommonName)
	}
	return &CA{
		Cert:    cert,
		KeyPair: KeyPair{CertPEM: certPEM, KeyPEM: keyPEM},
		key:     key,
		now:     time.Now,
	}, nil
}

// WithClock returns the CA with another clock.
func (c *CA) WithClock(now func() time.Time) *CA {
	d := *c
	d.now = clock(now)
	return &d
}

func clock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
