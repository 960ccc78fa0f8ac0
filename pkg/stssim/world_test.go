package stssim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/capiam/capiam/pkg/iam"
)

const (
	account      = "111122223333"
	otherAccount = "444455556666"
	region       = "eu-central-1"
	regionHost   = "sts.eu-central-1.amazonaws.com"
)

// seedState makes one state's keys for all tests: RSA keys are slow to make.
var seedState = sync.OnceValues(func() ([]byte, error) {
	state, err := NewState(StateOptions{})
	if err != nil {
		return nil, err
	}
	state.IssuerURL(account)
	return json.Marshal(state)
})

func newTestState(t testing.TB) *State {
	t.Helper()
	seed, err := seedState()
	if err != nil {
		t.Fatal(err)
	}
	state := &State{}
	if err := json.Unmarshal(seed, state); err != nil {
		t.Fatal(err)
	}
	return state
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a simulated STS on the network, with a client that reaches it.
type world struct {
	state  *State
	server *Server
	proxy  *Proxy
	client *http.Client
}

// newWorld runs by the system's clock: the SDK's clients sign by it.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{state: newTestState(t)}
	w.server = New(w.state, Options{})
	var err error
	w.proxy, err = ListenProxy(context.Background(), w.server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.state.CAPEM()) {
		t.Fatal("the CA is not PEM")
	}
	proxyURL, err := url.Parse(w.proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		Proxy:             http.ProxyURL(proxyURL),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	return w
}

// sts returns an STS client of the SDK that signs with the credentials.
func (w *world) sts(region string, creds *Credentials) *sts.Client {
	return sts.New(sts.Options{
		Region:           region,
		HTTPClient:       w.client,
		RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return creds.aws(), nil
		}),
	})
}

func (c Credentials) aws() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
	}
}

func mustARN(t testing.TB, s string) iam.ARN {
	t.Helper()
	a, err := iam.ParseARN(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
