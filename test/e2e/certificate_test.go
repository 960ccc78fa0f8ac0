//go:build e2e

package e2e_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/pki"
)

// webhook is what an API server's node says about its authenticator: the CA that
// the API server was given for it, and the certificate that it shows.
type webhook struct {
	ca, shown *x509.Certificate
}

// webhookOf looks at a node from inside.
func (w *work) webhookOf(ctx context.Context, node string) (*webhook, error) {
	machine, err := w.e.Lab.Get(node)
	if err != nil {
		return nil, err
	}
	text, err := machine.Output(ctx, "sh", "-c", "cat $(find /var/lib/kubeadm /etc/kubernetes -path '*aws-iam-authenticator*' -name kubeconfig.yaml)")
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load([]byte(text))
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		ca, err := pki.ParseCert(cluster.CertificateAuthorityData)
		if err != nil {
			return nil, fmt.Errorf("node %s: the CA in the API server's webhook kubeconfig: %w", node, err)
		}
		presented, err := machine.Output(ctx, "e2e-node", "certificate", "127.0.0.1:21362")
		if err != nil {
			return nil, err
		}
		shown, err := pki.ParseCert([]byte(presented))
		if err != nil {
			return nil, err
		}
		return &webhook{ca: ca, shown: shown}, nil
	}
	return nil, fmt.Errorf("node %s: the API server's webhook kubeconfig has no cluster", node)
}

// checkCertificate follows the path from the CA on the management cluster to what
// the authenticator on each node shows its API server.
func (w *work) checkCertificate(t *testing.T) {
	t.Helper()
	ctx := within(t)
	kept := w.ca(t)
	for node := range w.pods(t) {
		hook, err := w.webhookOf(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		if !hook.ca.Equal(kept.Cert) {
			t.Errorf("node %s: the API server trusts another CA than the one that is kept", node)
		}
		roots := x509.NewCertPool()
		roots.AddCert(kept.Cert)
		if _, err := hook.shown.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"}); err != nil {
			t.Errorf("node %s: the authenticator's certificate: %v", node, err)
		}
	}
}

// ca is the authenticator's, as it is kept on the management cluster.
func (w *work) ca(t *testing.T) *pki.CA {
	t.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: w.Namespace, Name: w.Name + "-aws-iam-authenticator-ca"}
	if err := w.Management.Client.Get(within(t), key, secret); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.LoadCA(secret.Data["cert.pem"], secret.Data["key.pem"])
	if err != nil {
		t.Fatalf("secret %s: %v", key, err)
	}
	return ca
}

// renew gives the authenticator a certificate that is past two thirds of its
// life, and has capiam renew it.
func (w *work) renew(t *testing.T) {
	t.Helper()
	ctx := within(t)
	ca := w.ca(t)
	node := controlPlaneNames(t, w.Cluster)[0]
	workload, err := w.Workload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := workload.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "aws-iam-authenticator"}, secret); err != nil {
		t.Fatal(err)
	}
	old := secret.DeepCopy()
	cert, key := oldLeaf(t, ca)
	secret.Data["cert.pem"], secret.Data["key.pem"] = cert, key
	if err := workload.Patch(ctx, secret, client.MergeFrom(old)); err != nil {
		t.Fatal(err)
	}
	aged, err := pki.ParseCert(cert)
	if err != nil {
		t.Fatal(err)
	}
	took(t, "kubelet's way with a changed certificate, to the authenticator showing it", func(ctx context.Context) error {
		return w.shows(ctx, node, func(c *x509.Certificate) bool { return c.Equal(aged) })
	})
	took(t, "renew the certificate, to the authenticator showing it", func(ctx context.Context) error {
		if err := w.upgrade(ctx); err != nil {
			return err
		}
		return w.shows(ctx, node, func(c *x509.Certificate) bool { return time.Now().Before(pki.RenewAt(c)) })
	})
	w.checkCertificate(t)
}

// shows waits until the authenticator on a node shows such a certificate.
func (w *work) shows(ctx context.Context, node string, such func(*x509.Certificate) bool) error {
	return w.Management.Wait(ctx, func(ctx context.Context) error {
		hook, err := w.webhookOf(ctx, node)
		if err != nil {
			return err
		}
		if !such(hook.shown) {
			return fmt.Errorf("node %s shows a certificate of %s", node, hook.shown.NotBefore)
		}
		return nil
	})
}

// oldLeaf makes a certificate that should have been renewed a month ago, which
// the CA, being new, cannot.
func oldLeaf(t *testing.T, ca *pki.CA) (certPEM, keyPEM []byte) {
	t.Helper()
	pair, err := ca.Issue(pki.AuthenticatorLeaf())
	if err != nil {
		t.Fatal(err)
	}
	template, err := pki.ParseCert(pair.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	template.NotBefore, template.NotAfter = time.Now().Add(-275*day), time.Now().Add(90*day)
	block, _ := pem.Decode(ca.KeyPEM)
	issuer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, template.PublicKey, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pair.KeyPEM
}
