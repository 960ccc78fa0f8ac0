// Package servingcert is the certificate the webhook is served with: read from
// the state directory, made there if it is missing, and read again whenever it
// changes, without a restart.
package servingcert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// Names of the files in the state directory.
const (
	CertFile = "cert.pem"
	KeyFile  = "key.pem"
)

const (
	// selfSignedLife is how long a certificate made here is good. The API
	// server trusts that very certificate, so it cannot be renewed without
	// giving the API server a new kubeconfig.
	selfSignedLife = 10 * 365 * 24 * time.Hour
	// pollEvery is how often the files are looked at.
	pollEvery = 5 * time.Second
)

// Source is a certificate and key on disk.
type Source struct {
	dir     string
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]
	// stamp tells the files in use from others. It is Run's alone, after Open.
	stamp string
	// read is tls.LoadX509KeyPair, but in tests.
	read func(certFile, keyFile string) (tls.Certificate, error)
	// Changed is called with each certificate taken over. It may be nil.
	Changed func(leaf *x509.Certificate)
}

// Open reads the pair in the state directory.
func Open(dir string, log *slog.Logger, now func() time.Time) (*Source, error) {
	if now == nil {
		now = time.Now
	}
	s := &Source{dir: dir, log: log, now: now, read: tls.LoadX509KeyPair}
	if err := s.load(s.newStamp()); err != nil {
		return nil, err
	}
	return s, nil
}

// Exists tells whether the certificate is in the state directory. A certificate
// without its key is an error: making a new pair would overwrite it. A key alone
// is what an interrupted SelfSign leaves, and is worth nothing.
func Exists(dir string) (bool, error) {
	_, certErr := os.Stat(filepath.Join(dir, CertFile))
	_, keyErr := os.Stat(filepath.Join(dir, KeyFile))
	switch {
	case errors.Is(certErr, fs.ErrNotExist):
		return false, nil
	case certErr == nil && errors.Is(keyErr, fs.ErrNotExist):
		return false, fmt.Errorf("%s is in %s, but %s is not: put both there, or neither", CertFile, dir, KeyFile)
	}
	return true, errors.Join(certErr, keyErr)
}

// load reads the pair. The stamp was taken before: one taken after would be
// that of files replaced since, which would never be read.
func (s *Source) load(stamp string) error {
	cert, err := s.read(filepath.Join(s.dir, CertFile), filepath.Join(s.dir, KeyFile))
	if err != nil {
		return fmt.Errorf("serving certificate in %s: %w", s.dir, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("serving certificate in %s: %w", s.dir, err)
		}
	}
	if err := s.check(cert.Leaf); err != nil && s.current.Load() != nil && s.Check() == nil {
		return err // the one in use is better
	}
	s.stamp = stamp
	s.current.Store(&cert)
	if s.Changed != nil {
		s.Changed(cert.Leaf)
	}
	return nil
}

// newStamp is a text that changes when a file does.
func (s *Source) newStamp() string {
	var text string
	for _, name := range []string{CertFile, KeyFile} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			text += fmt.Sprintf("%d %d;", info.Size(), info.ModTime().UnixNano())
		} else {
			text += "missing;"
		}
	}
	return text
}

// Run reads the files again whenever they change, until ctx ends. A pair that
// does not fit, cannot be read, or is not good at this time, leaves a good one in
// use, and is tried again: what mends it need not change the files. A nil tick
// is every five seconds.
func (s *Source) Run(ctx context.Context, tick <-chan time.Time) {
	if tick == nil {
		t := time.NewTicker(pollEvery)
		defer t.Stop()
		tick = t.C
	}
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		stamp := s.newStamp()
		if stamp == s.stamp {
			continue
		}
		if err := s.load(stamp); err != nil {
			if text := err.Error(); text != said {
				said = text
				s.log.Warn("new serving certificate not taken, the old one stays", "error", text)
			}
			continue
		}
		said = ""
		leaf := s.current.Load().Leaf
		s.log.Info("serving certificate read again", "serial", leaf.SerialNumber.Text(16), "notAfter", leaf.NotAfter)
	}
}

// GetCertificate is for tls.Config.
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load(), nil
}

// Leaf returns the certificate in use.
func (s *Source) Leaf() *x509.Certificate { return s.current.Load().Leaf }

// PEM returns the certificate in use, for a kubeconfig that trusts it.
func (s *Source) PEM() []byte {
	var out []byte
	for _, der := range s.current.Load().Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// Check says what is wrong with the certificate in use, at this moment.
func (s *Source) Check() error { return s.check(s.Leaf()) }

func (s *Source) check(leaf *x509.Certificate) error {
	now := s.now()
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("serving certificate has expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("serving certificate is not good before %s: this machine's clock is behind", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// SelfSign makes a certificate that is its own CA and writes it to the
// directory, as aws-iam-authenticator does when it finds none: for the host
// name, and for the address unless it stands for all addresses. The key's mode
// is 0600.
func SelfSign(dir, hostname, address string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("serving key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "aws-iam-authenticator"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if ip := net.ParseIP(hostname); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else {
		template.DNSNames = append(template.DNSNames, hostname)
	}
	if ip := net.ParseIP(address); ip != nil && !ip.IsUnspecified() && address != hostname {
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("serving key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if _, err := atomicfile.Write(filepath.Join(dir, KeyFile), keyPEM, atomicfile.Private); err != nil {
		return err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	_, err = atomicfile.Write(filepath.Join(dir, CertFile), certPEM, 0o644)
	return err
}

// ServerURL is the webhook's address, as its kubeconfig has it.
func ServerURL(hostname string, port int) string {
	return "https://" + net.JoinHostPort(hostname, fmt.Sprint(port)) + "/authenticate"
}
