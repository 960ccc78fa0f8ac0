package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func newCA(t *testing.T, o CAOptions) *CA {
	t.Helper()
	if o.CommonName == "" {
		o.CommonName = "test CA"
	}
	if o.Now == nil {
		o.Now = at(noon)
	}
	ca, err := NewCA(o)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestLeafIsGoodForItsNamesAndTime(t *testing.T) {
	t.Parallel()
	ca := newCA(t, CAOptions{})
	pair, err := ca.Issue(LeafOptions{CommonName: "authenticator", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Certificate(); err != nil {
		t.Errorf("key pair does not load: %v", err)
	}
	other := newCA(t, CAOptions{})
	for _, tt := range []struct {
		name  string
		caPEM []byte
		names []string
		at    time.Time
		want  string // part of the error
	}{
		{"good", ca.CertPEM, []string{"localhost", "127.0.0.1", "::1"}, noon, ""},
		{"a clock five minutes behind", ca.CertPEM, []string{"localhost"}, noon.Add(-5 * time.Minute), ""},
		{"a clock six minutes behind", ca.CertPEM, nil, noon.Add(-6 * time.Minute), "not yet valid"},
		{"last moment", ca.CertPEM, nil, noon.Add(DefaultLeafLifetime), ""},
		{"expired", ca.CertPEM, nil, noon.Add(DefaultLeafLifetime + time.Second), "expired"},
		{"another name", ca.CertPEM, []string{"localhost", "example.com"}, noon, "example.com"},
		{"another address", ca.CertPEM, []string{"10.0.0.1"}, noon, "10.0.0.1"},
		{"another CA of the same name", other.CertPEM, nil, noon, "unknown authority"},
		{"no CA", nil, nil, noon, "no certificate in the CA's PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert, err := Verify(pair.CertPEM, tt.caPEM, tt.names, tt.at)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !cert.NotAfter.Equal(noon.Add(DefaultLeafLifetime)) {
					t.Errorf("good until %s", cert.NotAfter)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCA(t *testing.T) {
	t.Parallel()
	ca := newCA(t, CAOptions{})
	if got := ca.Cert.NotAfter.Sub(noon); got != DefaultCALifetime {
		t.Errorf("CA is valid for %s, want %s", got, DefaultCALifetime)
	}
	if !ca.Cert.MaxPathLenZero || !ca.Cert.IsCA {
		t.Error("CA could sign other CAs, or is none")
	}
	if block, _ := pem.Decode(ca.KeyPEM); block == nil || block.Type != "PRIVATE KEY" {
		t.Error("the CA's key is not PKCS#8 PEM")
	}
	again, err := LoadCA(ca.CertPEM, ca.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := again.WithClock(at(noon)).Issue(LeafOptions{DNSNames: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(pair.CertPEM, ca.CertPEM, []string{"localhost"}, noon); err != nil {
		t.Errorf("a loaded CA's leaf: %v", err)
	}
}

func TestLeafNeverOutlivesItsCA(t *testing.T) {
	t.Parallel()
	ca := newCA(t, CAOptions{})
	late := ca.WithClock(at(ca.Cert.NotAfter.Add(-24 * time.Hour)))
	pair, err := late.Issue(LeafOptions{DNSNames: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ParseCert(pair.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.NotAfter.Equal(ca.Cert.NotAfter) {
		t.Errorf("leaf ends %s, CA %s", leaf.NotAfter, ca.Cert.NotAfter)
	}
	if _, err := ca.WithClock(at(ca.Cert.NotAfter)).Issue(LeafOptions{DNSNames: []string{"localhost"}}); err == nil {
		t.Error("an expired CA signed")
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	ca := newCA(t, CAOptions{})
	for name, o := range map[string]LeafOptions{
		"a server without a name": {CommonName: "localhost"},
		"a negative lifetime":     {DNSNames: []string{"localhost"}, Lifetime: -time.Hour},
	} {
		if _, err := ca.Issue(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := ca.Issue(LeafOptions{CommonName: "admin", Organization: []string{"system:masters"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("a client certificate: %v", err)
	}
}

func TestNameConstraints(t *testing.T) {
	t.Parallel()
	loopback := &net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}
	for _, tt := range []struct {
		name string
		c    NameConstraints
		leaf LeafOptions
		ok   bool
	}{
		{"the domain", NameConstraints{DNSDomains: []string{"amazonaws.com"}}, LeafOptions{DNSNames: []string{"sts.eu-west-1.amazonaws.com"}}, true},
		{"another domain", NameConstraints{DNSDomains: []string{"amazonaws.com"}}, LeafOptions{DNSNames: []string{"example.com"}}, false},
		{"a lookalike", NameConstraints{DNSDomains: []string{"amazonaws.com"}}, LeafOptions{DNSNames: []string{"evilamazonaws.com"}}, false},
		{"an address where only names may be", NameConstraints{DNSDomains: []string{"amazonaws.com"}}, LeafOptions{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, false},
		{"an IPv6 address where only names may be", NameConstraints{DNSDomains: []string{"amazonaws.com"}}, LeafOptions{IPs: []net.IP{net.IPv6loopback}}, false},
		{"a name where only addresses may be", NameConstraints{IPRanges: []*net.IPNet{loopback}}, LeafOptions{DNSNames: []string{"example.com"}}, false},
		{"the address", NameConstraints{IPRanges: []*net.IPNet{loopback}}, LeafOptions{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, true},
		{"another address", NameConstraints{IPRanges: []*net.IPNet{loopback}}, LeafOptions{IPs: []net.IP{net.IPv4(10, 0, 0, 1)}}, false},
		{"nothing permitted", NameConstraints{}, LeafOptions{DNSNames: []string{"localhost"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca := newCA(t, CAOptions{NameConstraints: &tt.c})
			if _, err := ca.Issue(tt.leaf); (err == nil) != tt.ok {
				t.Errorf("error %v, want it issued: %v", err, tt.ok)
			}
		})
	}
}

func TestRenewAt(t *testing.T) {
	t.Parallel()
	cert := &x509.Certificate{NotBefore: noon, NotAfter: noon.Add(90 * time.Hour)}
	if got, want := RenewAt(cert), noon.Add(60*time.Hour); !got.Equal(want) {
		t.Errorf("renew at %s, want %s", got, want)
	}
}

// rsaCA is a CA as EKS Anywhere's clusters have: RSA, CA and leaf at once, its
// key in PKCS#1.
func rsaCA(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aws-iam-authenticator"},
		NotBefore: noon, NotAfter: noon.AddDate(100, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return encodeCert(der), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func TestEKSAnywheresCAIsAdopted(t *testing.T) {
	t.Parallel()
	certPEM, keyPEM := rsaCA(t)
	ca, err := LoadCA(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.WithClock(at(noon)).Issue(LeafOptions{DNSNames: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(pair.CertPEM, certPEM, []string{"localhost"}, noon); err != nil {
		t.Error(err)
	}
}

func TestLoadCARefuses(t *testing.T) {
	t.Parallel()
	ca := newCA(t, CAOptions{})
	other := newCA(t, CAOptions{})
	leaf, err := ca.Issue(LeafOptions{DNSNames: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"nothing", nil, nil, "no certificate"},
		{"no key", ca.CertPEM, nil, "private key cannot be read"},
		{"another CA's key", ca.CertPEM, other.KeyPEM, "not the certificate's"},
		{"a leaf", leaf.CertPEM, leaf.KeyPEM, "not a CA"},
		{"a damaged key", ca.CertPEM, bytes.Replace(ca.KeyPEM, []byte("M"), []byte("N"), 3), "private key cannot be read"},
		{"a damaged certificate", bytes.Replace(ca.CertPEM, []byte("M"), []byte("N"), 3), ca.KeyPEM, "certificate"},
		{"swapped", ca.KeyPEM, ca.CertPEM, "no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := LoadCA(tt.cert, tt.key)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			for _, line := range strings.Split(string(tt.key), "\n") {
				if len(line) > 16 && strings.Contains(err.Error(), line[:16]) && !strings.HasPrefix(line, "-----") {
					t.Errorf("error quotes the key: %v", err)
				}
			}
		})
	}
}

func TestParseKeyForms(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	openssl := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	got, err := parseKey(openssl)
	if err != nil || !samePublicKey(got.Public(), key.Public()) {
		t.Errorf("openssl's form: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	ca, err := NewCA(CAOptions{CommonName: "seed"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ca.CertPEM, ca.KeyPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		if ca, err := LoadCA(cert, key); err == nil && ca.Cert == nil {
			t.Error("no error and no certificate")
		}
	})
}

func TestKeep(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca := newCA(t, CAOptions{CommonName: "ca", Now: at(noon)})
	good, renewed, err := ca.Keep(KeyPair{}, AuthenticatorLeaf())
	if err != nil || !renewed {
		t.Fatalf("renewed %v, %v", renewed, err)
	}
	other, err := newCA(t, CAOptions{CommonName: "ca", Now: at(noon)}).Issue(AuthenticatorLeaf())
	if err != nil {
		t.Fatal(err)
	}
	old := AuthenticatorLeaf()
	old.IPs = old.IPs[:1]
	narrow, err := ca.Issue(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		pair    KeyPair
		at      time.Time
		renewed bool
	}{
		{"good", good, noon, false},
		{"nearly due", good, noon.Add(240 * 24 * time.Hour), false},
		{"due", good, noon.Add(250 * 24 * time.Hour), true},
		{"another CA's of the same name", other, noon, true},
		{"lacks a name", narrow, noon, true},
		{"another key", KeyPair{CertPEM: good.CertPEM, KeyPEM: narrow.KeyPEM}, noon, true},
		{"damaged", KeyPair{CertPEM: []byte("no"), KeyPEM: good.KeyPEM}, noon, true},
	} {
		pair, renewed, err := ca.WithClock(at(tt.at)).Keep(tt.pair, AuthenticatorLeaf())
		if err != nil || renewed != tt.renewed {
			t.Errorf("%s: renewed %v, %v", tt.name, renewed, err)
		}
		if _, err := Verify(pair.CertPEM, ca.CertPEM, []string{"localhost", "127.0.0.1", "::1"}, tt.at); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
