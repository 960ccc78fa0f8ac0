package authenticator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/servingcert"
	"github.com/capiam/capiam/pkg/mapping"
)

// TestHandOver has one server stand in for another on the same port. Somebody
// logs in by new connections all the while, and every login works.
func TestHandOver(t *testing.T) {
	t.Parallel()
	standIn := newWorld(t)
	standIn.awsAuth(map[string]string{"mapUsers": goodUsers})
	// The readyz of the one that comes later, on a port that is not known yet.
	var health atomic.Pointer[string]
	readyz := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := health.Load()
		if at == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		resp, err := http.Get(*at + "/readyz")
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	}))
	t.Cleanup(readyz.Close)
	standIn.untilReady = readyz.URL
	shared := func(s *config.Settings) { s.SharePort, s.TokenCacheTTL = true, 0 }
	standIn.start(shared)
	if standIn.health != "" {
		t.Error("the stand-in has a health port")
	}
	if a := standIn.review(standIn.presign(userARN, clusterID)); !a.Status.Authenticated {
		t.Fatalf("the stand-in: %+v", a)
	}

	transport := standIn.http.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	client := &http.Client{Transport: transport}
	token := standIn.presign(userARN, clusterID)
	webhook := standIn.webhook
	var logins sync.WaitGroup
	var enough atomic.Bool
	var tried atomic.Int64
	for range 4 {
		logins.Go(func() {
			for !enough.Load() {
				body := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`
				resp, err := client.Post(webhook+"/authenticate", "application/json", strings.NewReader(body))
				if errors.Is(err, syscall.ECONNRESET) {
					continue // as the API server does (webhook.DefaultShouldRetry)
				}
				if err != nil {
					t.Errorf("after %d logins: %v", tried.Load(), err)
					return
				}
				text := make([]byte, 4096)
				n, _ := resp.Body.Read(text)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK || !strings.Contains(string(text[:n]), `"username":"alice"`) {
					t.Errorf("after %d logins: %d %s", tried.Load(), resp.StatusCode, text[:n])
					return
				}
				tried.Add(1)
			}
		})
	}
	more := func(what string) {
		from := tried.Load()
		standIn.eventually(what, func() bool { return tried.Load() >= from+20 || t.Failed() })
	}
	more("logins by the stand-in")

	second := &world{
		t: t, state: standIn.state, sts: standIn.sts, network: standIn.network, client: standIn.client,
		kube: standIn.kube, dir: standIn.dir, log: &syncBuffer{},
	}
	second.start(func(s *config.Settings) { shared(s); s.Port = portOf(t, webhook) })
	second.waitReady()
	more("logins by both")
	health.Store(&second.health)
	if err := <-standIn.done; err != nil {
		t.Error(err)
	}
	standIn.stop()
	standIn.stop = nil
	more("logins by the second")
	enough.Store(true)
	logins.Wait()

	// The stand-in has nothing to do where the other is ready already.
	late := *second
	late.untilReady, late.log = readyz.URL, &syncBuffer{}
	late.stop, late.done = nil, nil
	server, err := New(Options{Settings: sharedSettings(t, &late, webhook), Network: late.network, UntilReady: readyz.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWaitsForThePort: one who has the ports for himself, as
// aws-iam-authenticator does, is waited for. The new server takes them over when
// the old one ends.
func TestWaitsForThePort(t *testing.T) {
	t.Parallel()
	old := newWorld(t)
	old.awsAuth(map[string]string{"mapUsers": goodUsers})
	old.start(nil)
	old.waitReady()
	next := &world{
		t: t, state: old.state, sts: old.sts, network: old.network, client: old.client,
		kube: old.kube, dir: old.dir, log: &syncBuffer{},
	}
	started := make(chan struct{})
	socket := filepath.Join(t.TempDir(), "s")
	go func() {
		defer close(started)
		next.start(func(s *config.Settings) {
			s.SharePort, s.HealthSocket, s.Port, s.HealthPort = true, socket, portOf(t, old.webhook), portOf(t, old.health)
		})
	}()
	// It is ready all the same: otherwise the old pod would never end.
	old.eventually("the new one waits", saysBySocket(socket, http.StatusOK, "[+]webhook takes the port over"))
	if a := old.review(old.presign(userARN, clusterID)); !a.Status.Authenticated {
		t.Errorf("the old one: %+v", a)
	}
	old.shutdown()
	<-started
	if a := next.review(next.presign(userARN, clusterID)); !a.Status.Authenticated {
		t.Errorf("the new one: %+v", a)
	}
}

// TestStandInEnds: nobody stands in for one that shares no port, nor for ever.
func TestStandInEnds(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Options){
		"no shared port": func(o *Options) { o.Settings.SharePort = false },
		"the time is up": func(o *Options) { o.StandInEnds = time.Now().Add(50 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := servingcert.SelfSign(filepath.Join(w.dir, "state"), "localhost", "127.0.0.1", time.Now()); err != nil {
				t.Fatal(err)
			}
			o := Options{Settings: sharedSettings(t, w, "https://127.0.0.1:0"), Network: w.network, UntilReady: "http://127.0.0.1:1/readyz"}
			edit(&o)
			server, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOwnReadiness: of two servers on one port, each says by its own socket how it
// is itself.
func TestOwnReadiness(t *testing.T) {
	t.Parallel()
	old := newWorld(t)
	old.awsAuth(map[string]string{"mapUsers": goodUsers})
	shared := func(s *config.Settings) { s.SharePort = true }
	old.start(shared)
	old.waitReady()

	// This one's API server answers nothing, so it never loads, and leaves the
	// port to the other.
	settings := sharedSettings(t, old, old.webhook)
	settings.BackendMode, settings.HealthPort = []string{mapping.BackendEKSConfigMap}, portOf(t, old.health)
	settings.SnapshotDir = t.TempDir()
	settings.Master, settings.HealthSocket = "http://127.0.0.1:1", filepath.Join(t.TempDir(), "s")
	log := &syncBuffer{}
	server, err := New(Options{Settings: settings, Network: old.network, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	old.eventually("its own answer", saysBySocket(settings.HealthSocket, http.StatusServiceUnavailable, "[-]webhook does not listen yet"))
	for range 20 {
		if a := old.review(old.presign(userARN, clusterID)); !a.Status.Authenticated {
			t.Errorf("the other one: %+v", a)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// saysBySocket tells whether a server says by its socket how ready it is.
func saysBySocket(socket string, status int, text string) func() bool {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	return func() bool {
		resp, err := client.Get("http://localhost/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		said, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == status && strings.Contains(string(said), text)
	}
}

// sharedSettings are those of a world's server for another one on the same port.
func sharedSettings(t *testing.T, w *world, webhook string) config.Settings {
	s := config.Defaults()
	s.ClusterID, s.Port, s.SharePort, s.KubeconfigPregenerated = clusterID, portOf(t, webhook), true, true
	s.StateDir = filepath.Join(w.dir, "state")
	s.Complete()
	return s
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	_, text, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
