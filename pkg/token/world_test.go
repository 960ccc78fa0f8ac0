package token

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
)

// TestMain keeps the tests away from the AWS configuration of whoever runs
// them.
func TestMain(m *testing.M) {
	code, err := isolated(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func isolated(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "capiam-token")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			if err := os.Unsetenv(name); err != nil {
				return 1, err
			}
		}
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE":             filepath.Join(dir, "config"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "credentials"),
		"AWS_EC2_METADATA_DISABLED":   "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

const (
	account  = "111122223333"
	region   = "eu-central-1"
	userARN  = "arn:aws:iam::111122223333:user/div/Alice"
	roleARN  = "arn:aws:iam::111122223333:role/team/Dev"
	assumed  = "arn:aws:sts::111122223333:assumed-role/Dev/dev"
	cluster  = "test-cluster"
	exampleK = "AKIAIOSFODNN7EXAMPLE"
)

// world is a simulated STS, and a client that reaches it.
type world struct {
	state  *stssim.State
	server *stssim.Server
	proxy  *stssim.Proxy
	client *http.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	state, err := stssim.NewState(stssim.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{state: state, server: stssim.New(state, stssim.Options{})}
	w.proxy, err = stssim.ListenProxy(context.Background(), w.server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(state.CAPEM())
	proxyURL, err := url.Parse(w.proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxyURL), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	return w
}

// ensure makes somebody and returns the credentials as the SDK takes them.
func (w *world) ensure(t *testing.T, arn string, change ...func(*stssim.Identity)) fixedCredentials {
	t.Helper()
	a, err := iam.ParseARN(arn)
	if err != nil {
		t.Fatal(err)
	}
	id := stssim.Identity{Profile: strings.ToLower(a.Name), ARN: a}
	for _, f := range change {
		f(&id)
	}
	c := w.state.Ensure(id)
	return fixedCredentials{aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		CanExpire: !c.Expires.IsZero(), Expires: c.Expires,
	}}
}

// noSecrets fails if a text holds what must stay secret.
func noSecrets(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && bytes.Contains([]byte(text), []byte(s)) {
			t.Errorf("a secret is in: %s", text)
		}
	}
}
