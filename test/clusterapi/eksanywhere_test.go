package clusterapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// What EKS Anywhere adds to a KubeadmControlPlane, below the settings of the
// fixture.
const (
	eksaServer = `          - name: authentication-token-webhook-config-file
            value: /etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml
        extraVolumes:
          - name: authconfig
            hostPath: /var/lib/kubeadm/aws-iam-authenticator/
            mountPath: /etc/kubernetes/aws-iam-authenticator/
          - name: awsiamcert
            hostPath: /var/lib/kubeadm/aws-iam-authenticator/pki/
            mountPath: /var/aws-iam-authenticator/
    files:
      - path: /var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml
        owner: root:root
        permissions: "0640"
        content: |
          # the authenticator of this node
          clusters:
            - name: aws-iam-authenticator
              cluster:
                certificate-authority: /var/aws-iam-authenticator/cert.pem
                server: https://localhost:21362/authenticate
          users:
            - name: apiserver
          current-context: webhook
          contexts:
          - name: webhook
            context:
              cluster: aws-iam-authenticator
              user: apiserver
      - path: /var/lib/kubeadm/aws-iam-authenticator/pki/cert.pem
        owner: root:root
        permissions: "0640"
        contentFrom:
          secret: {name: NAME-aws-iam-authenticator-ca, key: cert.pem}
      - path: /var/lib/kubeadm/aws-iam-authenticator/pki/key.pem
        owner: root:root
        permissions: "0640"
        contentFrom:
          secret: {name: NAME-aws-iam-authenticator-ca, key: key.pem}
`
	eksaClusterID = "0d3f0f5e-9a62-4cf5-8d06-2f7c9ce5a111"
)

// A cluster that EKS Anywhere has left behind: capiam takes over its CA, which
// is the authenticator's certificate too, and its cluster ID, and replaces no
// machine.
func TestEKSAnywhereLeftovers(t *testing.T) {
	t.Parallel()
	// EKS Anywhere has all its clusters in one namespace.
	c := &cluster.Cluster{Management: shared.get(t), Namespace: "eksa-system", Name: "leftover"}
	ensureEKSANamespace(t, c)
	k := newCapiam(t, c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
	})
	certPEM, keyPEM := eksaCertificate(t)
	names := secretNames(c)
	for _, s := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: names[0]}, Data: map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM}},
		{ObjectMeta: metav1.ObjectMeta{Name: names[1]}, Data: map[string][]byte{"value": eksaKubeconfig(c)}},
	} {
		s.Namespace, s.Labels = c.Namespace, map[string]string{"clusterctl.cluster.x-k8s.io/move": "true"}
		if err := c.Management.Client.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	before, after, found := strings.Cut(string(fixture(t, "cluster-v1beta2.yaml", c)), "    initConfiguration:\n")
	if !found {
		t.Fatal("the fixture is another one")
	}
	objects := before + strings.ReplaceAll(eksaServer, "NAME", c.Name) + "    initConfiguration:\n" + after
	if err := c.Apply(t.Context(), []byte(objects)); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitAvailable(within(t)); err != nil {
		t.Fatal(err)
	}
	was, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	machine, data := onlyControlPlaneMachine(t, c)
	if file := data.File("/var/lib/kubeadm/aws-iam-authenticator/pki/cert.pem"); file == nil || file.Content != string(certPEM) {
		t.Errorf("machine %s: the certificate is %+v", machine, file)
	}

	spec := k.spec("admin", nil)
	plan := k.run("upgrade", "cluster", "-f", spec, "--dry-run")
	if !strings.Contains(plan, "  no machine is replaced") || strings.Contains(plan, "!") || strings.Contains(plan, "API servers") {
		t.Errorf("taking over would change\n%s", plan)
	}
	ca := &corev1.Secret{}
	get := func() {
		if err := c.Management.Client.Get(t.Context(), client.ObjectKey{Namespace: c.Namespace, Name: names[0]}, ca); err != nil {
			t.Fatal(err)
		}
	}
	if get(); len(ca.Annotations) > 0 {
		t.Errorf("a dry run has written %v", ca.Annotations)
	}

	// The in-memory API server takes no chart; what is kept is written before.
	_, stderr, _ := k.try("upgrade", "cluster", "-f", spec, "--wait=false")
	get()
	if got := ca.Annotations["capiam.dev/cluster-id"]; got != eksaClusterID {
		t.Errorf("cluster ID %q, want %s\n%s", got, eksaClusterID, stderr)
	}
	if !bytes.Equal(ca.Data["cert.pem"], certPEM) || !bytes.Equal(ca.Data["key.pem"], keyPEM) {
		t.Error("the CA is another one")
	}
	is, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was.Spec, is.Spec); diff != "" {
		t.Errorf("the KubeadmControlPlane is changed: -before +after\n%s", diff)
	}
	if got, _ := onlyControlPlaneMachine(t, c); got != machine {
		t.Errorf("machine %s was replaced", machine)
	}
}

// ensureEKSANamespace makes the namespace that capiam itself makes in other
// tests.
func ensureEKSANamespace(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	err := c.Management.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "eksa-system"}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// eksaCertificate is a certificate as EKS Anywhere makes it: CA and server at
// once, for 100 years.
func eksaCertificate(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "aws-iam-authenticator"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(100, 0, 0),
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// eksaKubeconfig is the users' kubeconfig as EKS Anywhere writes it.
func eksaKubeconfig(c *cluster.Cluster) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: "https://127.0.0.1:6443"}
contexts:
- name: %[1]s-aws
  context: {cluster: %[1]s, user: %[1]s-aws}
current-context: %[1]s-aws
users:
- name: %[1]s-aws
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws-iam-authenticator
      args: [token, -i, %[2]s]
`, c.Name, eksaClusterID)
}
