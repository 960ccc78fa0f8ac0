package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// LeafOptions are what a leaf certificate is made from.
type LeafOptions struct {
	// CommonName is the user of a client certificate.
	CommonName string
	// Organization holds the groups of a client certificate.
	Organization []string
	DNSNames     []string
	IPs          []net.IP
	// Usages are ServerAuth alone if empty.
	Usages []x509.ExtKeyUsage
	// Lifetime is DefaultLeafLifetime if 0. A leaf never outlives its CA.
	Lifetime time.Duration
}

// AuthenticatorLeaf is what the authenticator's certificate has to be: for every
// name by which an API server may call the one on its own node.
func AuthenticatorLeaf() LeafOptions {
	return LeafOptions{
		CommonName: "aws-iam-authenticator",
		DNSNames:   []string{"localhost"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
}

// Issue makes a key and signs a leaf certificate for it. It is an error if the
// CA has expired or may not vouch for one of the names.
func (c *CA) Issue(o LeafOptions) (KeyPair, error) {
	pair, err := c.issue(o)
	if err != nil {
		return KeyPair{}, fmt.Errorf("issue certificate %q: %w", o.CommonName, err)
	}
	return pair, nil
}

// Keep returns the pair that is there, if it is good: whole, the CA's, for every
// name of the options, valid, and not due to be renewed. Otherwise it issues a
// new one and tells so. A damaged pair can be replaced: nobody trusts it by
// itself.
func (c *CA) Keep(pair KeyPair, o LeafOptions) (_ KeyPair, renewed bool, err error) {
	if c.good(pair, o) {
		return pair, false, nil
	}
	pair, err = c.Issue(o)
	return pair, err == nil, err
}

func (c *CA) good(pair KeyPair, o LeafOptions) bool {
	if _, err := pair.Certificate(); err != nil {
		return false
	}
	cert, err := ParseCert(pair.CertPEM)
	at := c.now()
	if err != nil || chains(cert, c.Cert, at) != nil || !at.Before(RenewAt(cert)) {
		return false
	}
	for _, name := range o.DNSNames {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range o.IPs {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

func (c *CA) issue(o LeafOptions) (KeyPair, error) {
	at := c.now()
	if !at.Before(c.Cert.NotAfter) {
		return KeyPair{}, fmt.Errorf("CA %q expired at %s", c.Cert.Subject.CommonName, c.Cert.NotAfter.Format(time.RFC3339))
	}
	usages := o.Usages
	if len(usages) == 0 {
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if slices.Contains(usages, x509.ExtKeyUsageServerAuth) && len(o.DNSNames)+len(o.IPs) == 0 {
		return KeyPair{}, errors.New("a server certificate needs a DNS name or an IP address")
	}
	lifetime := o.Lifetime
	if lifetime == 0 {
		lifetime = DefaultLeafLifetime
	}
	if lifetime < 0 {
		return KeyPair{}, fmt.Errorf("negative lifetime %s", lifetime)
	}
	notBefore, notAfter := at.Add(-Backdate), at.Add(lifetime)
	if notAfter.After(c.Cert.NotAfter) {
		notAfter = c.Cert.NotAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("generate key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: o.CommonName, Organization: o.Organization},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usages,
		BasicConstraintsValid: true,
		DNSNames:              o.DNSNames,
		IPAddresses:           o.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.Cert, key.Public(), c.key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("sign: %w", err)
	}
	// Signing ignores the CA's own limits. Whoever is shown the certificate
	// does not, so look at it the same way before giving it out.
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return KeyPair{}, fmt.Errorf("read back: %w", err)
	}
	if err := chains(cert, c.Cert, at); err != nil {
		return KeyPair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{CertPEM: encodeCert(der), KeyPEM: keyPEM}, nil
}

// chains tells whether the CA vouches for a leaf at a moment.
func chains(leaf, ca *x509.Certificate, at time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		CurrentTime: at,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// Verify checks a server certificate as a client would: signed by one of the
// CAs in caPEM, valid at a moment, and for every one of names (DNS names or IP
// addresses). It returns the certificate, whose NotAfter and RenewAt say until
// when it is good.
func Verify(certPEM, caPEM []byte, names []string, at time.Time) (*x509.Certificate, error) {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("no certificate in the CA's PEM")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at}); err != nil {
		return nil, fmt.Errorf("certificate %q: %w", cert.Subject.CommonName, err)
	}
	for _, name := range names {
		if err := cert.VerifyHostname(name); err != nil {
			return nil, fmt.Errorf("certificate %q: %w", cert.Subject.CommonName, err)
		}
	}
	return cert, nil
}

// RenewAt is when a certificate should be replaced: at two thirds of its life,
// cert-manager's rule, which leaves a third to notice that renewing fails.
func RenewAt(cert *x509.Certificate) time.Time {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotBefore.Add(life / 3 * 2)
}
