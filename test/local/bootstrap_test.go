package local_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// testBootstrap does what the static pod of a joining machine does: fetch all
// from the API server, and judge logins with it.
func testBootstrap(t *testing.T, c *cluster) {
	m := c.m
	dir := filepath.Join(m.work, "bootstrap")
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"", "config", "state", "late", "snapshot"} {
		if err := os.Mkdir(in(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fetch := m.start(nil, "capiam-authenticator", "bootstrap", "--kubeconfig", c.admin(), "--dir", dir,
		"--configmap", "aws-iam-authenticator="+in("config"), "--secret", "aws-iam-authenticator="+in("state"),
		"--configmap", "none="+in("none")+",optional", "--configmap", "late="+in("late"))
	if !fetch.waitLine(`time=`) {
		t.Fatal(fetch.wait())
	}
	kube := c.clients()
	ctx := t.Context()
	late := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Data: map[string]string{"text": "here"}, BinaryData: map[string][]byte{"bytes": {0, 1}}}
	if _, err := kube.CoreV1().ConfigMaps("kube-system").Create(ctx, late, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = kube.CoreV1().ConfigMaps("kube-system").Delete(context.Background(), "late", metav1.DeleteOptions{})
	})
	if r := fetch.wait(); r.code != 0 || !strings.Contains(r.stderr, `ConfigMap kube-system/late`) || strings.Contains(r.stderr, "eyJ") {
		t.Fatal(r)
	}
	for name, want := range map[string]string{"late/text": "here", "late/bytes": "\x00\x01"} {
		if got, err := os.ReadFile(in(name)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if info, err := os.Stat(in("token")); err != nil || info.Mode().Perm() != 0o440 {
		t.Errorf("token: %v %v", info, err)
	}

	// The token is the ServiceAccount's: good for aws-auth, and not for Secrets.
	cfg, err := clientcmd.BuildConfigFromFlags("", in("kubeconfig.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own := kubernetes.NewForConfigOrDie(cfg).CoreV1()
	if _, err := own.ConfigMaps("kube-system").Get(ctx, "aws-auth", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := own.Secrets("kube-system").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("Secrets: %v, want forbidden", err)
	}

	port := freePort(t)
	// The way to the simulated STS, as the cluster's own authenticator has it.
	env := []string{
		"HTTPS_PROXY=" + c.record().STSProxyURL(), "NO_PROXY=127.0.0.1,localhost", "SSL_CERT_FILE=" + c.layout.STSCA(),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=" + c.record().Region,
	}
	server := m.start(env, "capiam-authenticator", "server", "--backend-mode=EKSConfigMap",
		"--config", in("config/config.yaml"), "--state-dir", in("state"), "--snapshot-dir", in("snapshot"),
		"--kubeconfig", in("kubeconfig.yaml"), "--kubeconfig-pregenerated=true", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--health-port=%d", freePort(t)))
	eventually(t, "a login by what was fetched", func() error { return reviewed(ctx, port, in("state/cert.pem"), c.token("Developer"), "developer") })
	server.signal(syscall.SIGTERM)
	if r := server.wait(); r.code != 0 {
		t.Error(r)
	}
}

// reviewed asks an authenticator whose token it is.
func reviewed(ctx context.Context, port int, certificate, token, username string) error {
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12},
	}}
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d/authenticate", port), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&review); err != nil {
		return err
	}
	if got := review.Status.User.Username; got != username {
		return fmt.Errorf("%d: %q %s", resp.StatusCode, got, review.Status.Error)
	}
	return nil
}
