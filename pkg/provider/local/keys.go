package local

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
)

// AuthenticatorUser is the user the authenticator beside the cluster is to the
// API server: the service account its pods have, so that the same RBAC rules
// bind it.
const AuthenticatorUser = "system:serviceaccount:kube-system:aws-iam-authenticator"

// clientCert is a client of the API server, with the kubeconfig it is given.
type clientCert struct {
	file       string
	user       string
	groups     []string
	kubeconfig string
}

func clientCerts(l Layout) []clientCert {
	return []clientCert{
		{file: "admin", user: "capiam-admin", groups: []string{"system:masters"}},
		{file: "controller-manager", user: "system:kube-controller-manager", kubeconfig: l.ControllerManager()},
		{
			file: "authenticator", user: AuthenticatorUser, kubeconfig: l.Authenticator("kubeconfig.yaml"),
			groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
		},
	}
}

// EnsureKeys makes the keys, certificates and kubeconfigs a cluster's programs
// need. What is there and good is kept; a server certificate past two thirds of
// its life is renewed. It tells whether anything was written.
func EnsureKeys(l Layout, record *Record, now func() time.Time) (changed bool, err error) {
	write := func(path string, data []byte) error {
		wrote, err := atomicfile.Write(path, data, atomicfile.Private)
		changed = changed || wrote
		return err
	}
	ca, err := ensureCA(l.PKI("ca"), record.Name, now, write)
	if err != nil {
		return changed, err
	}
	webhookCA, err := ensureCA(l.PKI("webhook-ca"), record.Name+"-aws-iam-authenticator", now, write)
	if err != nil {
		return changed, err
	}
	if err := ensureLeaf(ca, l.PKI("apiserver.crt"), l.PKI("apiserver.key"), pki.LeafOptions{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1)},
		Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, write); err != nil {
		return changed, err
	}
	if err := ensureLeaf(webhookCA, l.Authenticator("cert.pem"), l.Authenticator("key.pem"), pki.AuthenticatorLeaf(), write); err != nil {
		return changed, err
	}
	// Service account tokens are signed with a key of their own, and checked
	// with the certificate beside it.
	if _, err := ensureCA(l.PKI("sa"), "service-accounts", now, write); err != nil {
		return changed, err
	}
	// Nothing is aggregated here, but the controller manager complains every
	// second about an API server without this CA.
	if _, err := ensureCA(l.PKI("front-proxy-ca"), "front-proxy", now, write); err != nil {
		return changed, err
	}
	for _, client := range clientCerts(l) {
		cert, key := l.PKI(client.file+".crt"), l.PKI(client.file+".key")
		// These stay on this machine beside the CA's own key, so nothing is
		// gained by a life shorter than the CA's.
		if err := ensureLeaf(ca, cert, key, pki.LeafOptions{
			CommonName: client.user, Organization: client.groups,
			Usages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			Lifetime: pki.DefaultCALifetime - 24*time.Hour,
		}, write); err != nil {
			return changed, err
		}
		if client.kubeconfig == "" {
			continue
		}
		certPEM, err := os.ReadFile(cert)
		if err != nil {
			return changed, err
		}
		keyPEM, err := os.ReadFile(key)
		if err != nil {
			return changed, err
		}
		data, err := kubeconfig.Encode(kubeconfig.Admin(kubeconfig.AdminOptions{
			Cluster: record.Name, Server: record.APIServerURL(),
			CAPEM: ca.CertPEM, CertPEM: certPEM, KeyPEM: keyPEM,
		}))
		if err != nil {
			return changed, err
		}
		if err := write(client.kubeconfig, data); err != nil {
			return changed, err
		}
	}
	webhook, err := kubeconfig.Encode(kubeconfig.Webhook(record.WebhookURL(), webhookCA.CertPEM))
	if err != nil {
		return changed, err
	}
	return changed, write(l.Webhook(), webhook)
}

// ensureCA loads the CA in base.crt and base.key, or makes it if neither file is
// there. One without the other is an error: making a new CA would cut off
// whoever trusts the old.
func ensureCA(base, name string, now func() time.Time, write func(string, []byte) error) (*pki.CA, error) {
	certPEM, certErr := os.ReadFile(base + ".crt")
	keyPEM, keyErr := os.ReadFile(base + ".key")
	// The key is written first, so a killed process leaves no certificate
	// without its key.
	if errors.Is(certErr, fs.ErrNotExist) {
		ca, err := pki.NewCA(pki.CAOptions{CommonName: name, Now: now})
		if err != nil {
			return nil, err
		}
		if err := write(base+".key", ca.KeyPEM); err != nil {
			return nil, err
		}
		return ca, write(base+".crt", ca.CertPEM)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	ca, err := pki.LoadCA(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load CA %s.crt: %w", base, err)
	}
	return ca.WithClock(now), nil
}

// ensureLeaf keeps a certificate that is good, or writes a new one.
func ensureLeaf(ca *pki.CA, certPath, keyPath string, o pki.LeafOptions, write func(string, []byte) error) error {
	cert, certErr := os.ReadFile(certPath)
	key, keyErr := os.ReadFile(keyPath)
	if err := errors.Join(certErr, keyErr); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	pair, renewed, err := ca.Keep(pki.KeyPair{CertPEM: cert, KeyPEM: key}, o)
	if err != nil || !renewed {
		return err
	}
	if err := write(keyPath, pair.KeyPEM); err != nil {
		return err
	}
	return write(certPath, pair.CertPEM)
}
