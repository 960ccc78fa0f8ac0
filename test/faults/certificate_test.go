package faults_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/pki"
)

// TestCertificateReplaced: no login fails while the serving certificate is
// replaced on disk, by halves or by nonsense, and the new one is shown soon.
func TestCertificateReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()
	before := w.servedCertificate(t)

	// The key comes first and does not fit for as long as it is alone.
	pair := w.newCertificate(t)
	w.writeState(t, "key.pem", pair.KeyPEM)
	logins.nobodyWasRefused(began)
	if !bytes.Equal(w.servedCertificate(t), before) {
		t.Error("half a pair is served")
	}
	w.writeState(t, "cert.pem", pair.CertPEM)
	cert, err := pki.ParseCert(pair.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	took := eventually(t, "the new certificate is served", func(context.Context) bool {
		return bytes.Equal(w.servedCertificate(t), cert.Raw)
	})
	t.Logf("the new certificate is served after %s", milliseconds(took))
	w.waitMetric("certificate_expiry_seconds", func(at float64) bool { return int64(at) == cert.NotAfter.Unix() })
	logins.nobodyWasRefused(began)

	w.writeState(t, "cert.pem", []byte("not a certificate\n"))
	// The next whole pair shows that nonsense has been looked at, or skipped.
	pair = w.newCertificate(t)
	w.writeState(t, "key.pem", pair.KeyPEM)
	w.writeState(t, "cert.pem", pair.CertPEM)
	if cert, err = pki.ParseCert(pair.CertPEM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next certificate is served", func(context.Context) bool {
		return bytes.Equal(w.servedCertificate(t), cert.Raw)
	})
	logins.nobodyWasRefused(began)
}

// newCertificate issues one that the API server trusts.
func (w *world) newCertificate(t *testing.T) pki.KeyPair {
	t.Helper()
	certPEM, err := os.ReadFile(w.layout.PKI("webhook-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := os.ReadFile(w.layout.PKI("webhook-ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadCA(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.LeafOptions{
		CommonName: "aws-iam-authenticator", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, Lifetime: 48 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// writeState writes a file of the authenticator's state directory.
func (w *world) writeState(t *testing.T, name string, data []byte) {
	t.Helper()
	if _, err := atomicfile.Write(w.layout.Authenticator(name), data, atomicfile.Private); err != nil {
		t.Fatal(err)
	}
}

// webhookTLS trusts the authenticator as the API server does.
func (w *world) webhookTLS(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(w.layout.PKI("webhook-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func (w *world) webhookAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(w.record.Ports.Authenticator))
}

// servedCertificate returns what the webhook shows a new client.
func (w *world) servedCertificate(t *testing.T) []byte {
	t.Helper()
	dialer := tls.Dialer{Config: w.webhookTLS(t)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", w.webhookAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
}
