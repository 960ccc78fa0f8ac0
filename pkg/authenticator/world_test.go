package authenticator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/internal/kubefake"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

const (
	clusterID  = "test-cluster"
	region     = "eu-central-1"
	accountA   = "111122223333"
	accountB   = "444455556666"
	roleARN    = "arn:aws:iam::111122223333:role/team/Dev"
	userARN    = "arn:aws:iam::111122223333:user/Alice"
	strangeARN = "arn:aws:iam::111122223333:user/Stranger"

	awsAuthPath = "/api/v1/namespaces/kube-system/configmaps/aws-auth"
)

// world is a simulated STS, a small API server and an authenticator between
// them.
type world struct {
	t       testing.TB
	state   *stssim.State
	sts     *stssim.Server
	network outbound.Network
	client  *http.Client // reaches the simulated STS
	kube    *kubefake.Server
	dir     string

	// untilReady makes start start a server that stands in for another.
	untilReady string
	// now is the authenticator's clock; nil is the machine's.
	now func() time.Time
	// adjust changes a server before it runs; nil changes nothing.
	adjust func(*Server)

	server  *Server
	log     *syncBuffer
	webhook string
	health  string
	http    *http.Client // trusts the webhook
	stop    context.CancelFunc
	done    chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld makes the surroundings; start makes the authenticator.
func newWorld(t testing.TB) *world {
	t.Helper()
	state, err := stssim.NewState(stssim.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, state: state, sts: stssim.New(state, stssim.Options{}), kube: kubefake.New(t), dir: t.TempDir(), log: &syncBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := stssim.Listen(ctx, w.sts, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); cancel() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(state.CAPEM())
	var d net.Dialer
	w.network = outbound.Network{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, l.Addr().String())
		},
		TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	transport := w.network.Transport(8)
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	return w
}

// start runs an authenticator with the EKSConfigMap backend; edit changes its
// settings before.
func (w *world) start(edit func(*config.Settings)) {
	w.t.Helper()
	kube := clientcmdapi.NewConfig()
	kube.Clusters["c"] = &clientcmdapi.Cluster{Server: w.kube.URL}
	kube.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	kube.CurrentContext = "c"
	kubePath := filepath.Join(w.dir, "kubeconfig")
	if _, err := kubeconfig.WriteFile(kubePath, kube); err != nil {
		w.t.Fatal(err)
	}
	s := config.Defaults()
	s.ClusterID, s.Port, s.HealthPort, s.StateDir = clusterID, 0, 0, filepath.Join(w.dir, "state")
	s.GenerateKubeconfig, s.Kubeconfig = filepath.Join(w.dir, "webhook.kubeconfig"), kubePath
	s.BackendMode = []string{mapping.BackendEKSConfigMap}
	s.TokenIssuers = []config.TokenIssuer{{IssuerURL: w.state.IssuerURL(accountA), AccountID: accountA}}
	if edit != nil {
		edit(&s)
	}
	s.Complete()
	if err := s.Check(); err != nil {
		w.t.Fatal(err)
	}
	started := make(chan [2]net.Addr, 1)
	server, err := New(Options{
		Settings: s, Network: w.network, Instance: "test", UntilReady: w.untilReady, Now: w.now,
		Log:     slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Started: func(webhook, health net.Addr) { started <- [2]net.Addr{webhook, health} },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.adjust != nil {
		w.adjust(server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.server, w.stop, w.done = server, cancel, make(chan error, 1)
	go func() { w.done <- server.Run(ctx) }()
	select {
	case addrs := <-started:
		w.webhook = "https://" + addrs[0].String()
		if addrs[1] != nil {
			w.health = "http://" + addrs[1].String()
		}
	case err := <-w.done:
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(s.StateDir, "cert.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	w.http = &http.Client{Transport: transport}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.t.Cleanup(w.shutdown)
}

// shutdown stops the authenticator and waits for its end.
func (w *world) shutdown() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

// awsAuth writes the ConfigMap.
func (w *world) awsAuth(data map[string]string) {
	values := map[string]any{}
	for k, v := range data {
		values[k] = v
	}
	w.kube.Put(awsAuthPath, kubefake.Object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "aws-auth", "namespace": "kube-system"}, "data": values,
	})
}

// waitReady waits until /readyz says so.
func (w *world) waitReady() {
	w.t.Helper()
	w.eventually("ready", func() bool {
		status, _ := w.get(w.health + "/readyz")
		return status == http.StatusOK
	})
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in time: %s\n%s", what, w.log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) get(url string) (int, string) {
	w.t.Helper()
	resp, err := w.http.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (w *world) credentials(arn string) aws.CredentialsProvider {
	w.t.Helper()
	parsed, err := iam.ParseARN(arn)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.state.Ensure(stssim.Identity{Profile: arn, ARN: parsed, Session: "alice@example.com"})
	return awscreds.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

func (w *world) presign(arn, cluster string) string {
	w.t.Helper()
	tok, err := token.Presign(context.Background(), token.Options{ClusterID: cluster, Region: region, Credentials: w.credentials(arn), HTTPClient: w.client})
	if err != nil {
		w.t.Fatal(err)
	}
	return tok.Value
}

func (w *world) jwt(arn, audience, algorithm string) string {
	w.t.Helper()
	tok, err := token.JWT(context.Background(), token.Options{
		ClusterID: clusterID, Region: region, Credentials: w.credentials(arn), HTTPClient: w.client, Audience: audience, Algorithm: algorithm,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return tok.Value
}

// answer is a TokenReview or Status as it came back.
type answer struct {
	HTTP       int
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Message    string `json:"message"`
	Status     struct {
		Authenticated bool   `json:"authenticated"`
		Error         string `json:"error"`
		Audiences     []string
		User          struct {
			Username string              `json:"username"`
			UID      string              `json:"uid"`
			Groups   []string            `json:"groups"`
			Extra    map[string][]string `json:"extra"`
		} `json:"user"`
	} `json:"-"`
	RawStatus json.RawMessage `json:"status"`
}

func (w *world) review(token string) answer {
	w.t.Helper()
	return w.reviewAs("authentication.k8s.io/v1beta1", token)
}

func (w *world) reviewAs(apiVersion, token string) answer {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "TokenReview", "metadata": map[string]any{"creationTimestamp": nil},
		"spec": map[string]any{"token": token}, "status": map[string]any{"user": map[string]any{}},
	})
	status, text := w.post(string(body))
	a := answer{HTTP: status}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		w.t.Fatalf("%d %s: %v", status, text, err)
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(a.RawStatus, &a.Status); err != nil {
			w.t.Fatal(err)
		}
	}
	if strings.Contains(text, token) && len(token) > 20 {
		w.t.Errorf("answer holds the token")
	}
	return a
}

func (w *world) post(body string) (int, string) {
	w.t.Helper()
	resp, err := w.http.Post(w.webhook+"/authenticate?timeout=30s", "application/json", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.Header.Get("Retry-After") != "" {
		w.t.Error("Retry-After makes the API server ask 32 times")
	}
	return resp.StatusCode, string(text)
}
