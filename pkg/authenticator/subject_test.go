package authenticator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/servingcert"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/stssim"
)

// subject is an authenticator that a table is run against: ours, or
// aws-iam-authenticator itself. Its mappings are of a MountedFile, and STS
// answers it what a case says.
type subject struct {
	t    *testing.T
	name string
	sts  *stssim.Server
	url  string
	http *http.Client
	log  func() string
	// tokens counts them: no two are the same.
	tokens atomic.Int64
}

// serverKeys is the server's part of a configuration file that both read.
type serverKeys string

// ours starts our authenticator. Its backend is MountedFile if the keys name none.
func ours(t *testing.T, keys serverKeys) *subject {
	t.Helper()
	w := newWorld(t)
	path := writeServerConfig(t, w.dir, keys)
	file, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	w.start(func(s *config.Settings) {
		s.Apply(file)
		s.StateDir, s.TokenCacheTTL = filepath.Join(w.dir, "state"), 0
		if file.Server.BackendMode == nil {
			s.BackendMode = []string{mapping.BackendMountedFile}
		}
	})
	w.waitReady()
	return &subject{t: t, name: "ours", sts: w.sts, url: w.webhook, http: w.http, log: w.log.String}
}

// original starts aws-iam-authenticator, which CAPIAM_ORACLE names; the test is
// skipped if it names nothing.
func original(t *testing.T, keys serverKeys) *subject {
	t.Helper()
	program := os.Getenv("CAPIAM_ORACLE")
	if program == "" {
		t.Skip("CAPIAM_ORACLE does not name the program")
	}
	w := newWorld(t) // for its STS
	proxy, err := stssim.ListenProxy(context.WithoutCancel(t.Context()), w.sts, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, w.state.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := servingcert.SelfSign(w.dir, "localhost", "127.0.0.1", time.Now()); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	log := &syncBuffer{}
	cmd := exec.Command(program, "server", "--config", writeServerConfig(t, w.dir, keys),
		"--state-dir="+w.dir, "--port="+port, "--kubeconfig-pregenerated=true", "--log-format=json", "--feature-gates=SSORoleMatch=true")
	cmd.Env = []string{"HTTPS_PROXY=" + proxy.URL(), "SSL_CERT_FILE=" + ca, "AWS_EC2_METADATA_DISABLED=true", "PATH=/nowhere", "HOME=" + w.dir}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it does not stop at SIGTERM
		_ = cmd.Wait()
	})
	pem, err := os.ReadFile(filepath.Join(w.dir, servingcert.CertFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	s := &subject{t: t, name: "the original", sts: w.sts, url: "https://127.0.0.1:" + port, http: &http.Client{Transport: transport}, log: log.String}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		resp, err := s.http.Get(s.url + "/healthz")
		if err == nil {
			resp.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not start: %v\n%s", err, log.String())
		}
	}
}

func writeServerConfig(t *testing.T, dir string, keys serverKeys) string {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte("clusterID: "+clusterID+"\nserver:\n"+string(keys)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freePort returns a port that is free now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reply is what came back for a request.
type reply struct {
	answer
	Text        string
	ContentType string
}

// token returns a token that no check made before the call finds wrong.
func (s *subject) token() string {
	return with("X-Amz-Signature", fmt.Sprintf("%064x", s.tokens.Add(1)))(nil)
}

// says has STS answer every call so, until the next.
func (s *subject) says(f stssim.Fault) {
	f.Action = "GetCallerIdentity"
	s.sts.SetFaults(stssim.Faults{f})
}

// review asks about a token while STS answers so.
func (s *subject) review(token string, f stssim.Fault) reply {
	s.t.Helper()
	s.says(f)
	body, _ := json.Marshal(map[string]any{"apiVersion": apiV1beta1, "kind": kindReview, "spec": map[string]any{"token": token}})
	return s.do(http.MethodPost, "/authenticate", string(body), "application/json")
}

// login is the review of a token that STS says is somebody's.
func (s *subject) login(arn, account, userID string) reply {
	s.t.Helper()
	return s.review(s.token(), answering(http.StatusOK, callerBody(arn, account, userID)))
}

func (s *subject) do(method, path, body, contentType string) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r := reply{Text: string(text), ContentType: resp.Header.Get("Content-Type")}
	// What is no review has a status and a text all the same.
	_ = json.Unmarshal(text, &r.answer)
	_ = json.Unmarshal(r.RawStatus, &r.Status)
	r.HTTP = resp.StatusCode
	return r
}

// results returns how many requests had each of the original's results.
func (s *subject) results() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	line := regexp.MustCompile(`(?m)^aws_iam_authenticator_authenticate_latency_seconds_count\{result="([a-z_]+)"\} (\d+)$`)
	for _, m := range line.FindAllStringSubmatch(s.do(http.MethodGet, "/metrics", "", "").Text, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			s.t.Fatal(err)
		}
		counts[m[1]] = n
	}
	return counts
}
