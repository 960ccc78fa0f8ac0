package faults_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// reaction is an answer of a webhook, and what the API server makes of it.
type reaction struct {
	ID         string
	Status     int
	RetryAfter string
	// Version is the apiVersion in the answer: the request's ("echo"), the other
	// one there is, or none.
	Version string
	Answer  json.RawMessage

	// OK says that the login works, Err what the API server logs, and Calls how
	// often it asks about one login, once if it is zero. If Seconds is not zero,
	// asking takes about as long. Cached says whether a second login asks at all;
	// nil is not tried, because asking takes so long.
	OK             bool
	Err            string
	Calls, Seconds int
	Cached         *bool
}

// webhook answers reviews as cases say: the token is the ID of one.
type webhook struct {
	cases map[string]reaction

	mu    sync.Mutex
	calls map[string]int
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review struct {
		APIVersion, Kind string
		Spec             struct{ Token string }
	}
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(data, &review)
	}
	c, known := h.cases[review.Spec.Token]
	if err != nil || !known {
		http.Error(w, "no case", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	h.calls[c.ID]++
	h.mu.Unlock()
	answer := map[string]any{"status": c.Answer}
	const v1, v1beta1 = "authentication.k8s.io/v1", "authentication.k8s.io/v1beta1"
	switch c.Version {
	case "echo":
		answer["apiVersion"], answer["kind"] = review.APIVersion, review.Kind
	case "other":
		answer["apiVersion"], answer["kind"] = map[string]string{v1: v1beta1, v1beta1: v1}[review.APIVersion], review.Kind
	}
	if c.RetryAfter != "" {
		w.Header().Set("Retry-After", c.RetryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(c.Status)
	if c.Answer != nil {
		_ = json.NewEncoder(w).Encode(answer) // the API server's log would say so
	}
}

func (h *webhook) count(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[id]
}

// TestReactions: what the API server makes of a webhook's answers, which is why
// the authenticator's are what they are: how often it asks, and what it
// remembers. The webhook here is the test's own. All cases are tried at once:
// those with Retry-After take half a minute.
func TestReactions(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/kube-apiserver-reactions.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []reaction
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	w := newPlane(t)
	h := &webhook{cases: map[string]reaction{}, calls: map[string]int{}}
	for _, c := range cases {
		h.cases[c.ID] = c
	}
	w.serveWebhook(t, h)
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.ID, func(t *testing.T) {
				t.Parallel()
				w.react(t, h, c)
			})
		}
	})
}

// react logs in with a case's token, twice if it is to show what is remembered.
func (w *world) react(t *testing.T, h *webhook, c reaction) {
	t.Helper()
	began := time.Now()
	w.mustReact(t, c)
	took, calls := time.Since(began), h.count(c.ID)
	// Where it goes on until its time is over, a busy machine gets to fewer.
	want := max(1, c.Calls)
	if c.Seconds == 0 && calls != want || c.Seconds > 0 && (calls > want+1 || calls < want/2) {
		t.Errorf("asked %d times, want %d", calls, want)
	}
	t.Logf("asked %d times in %s", calls, milliseconds(took))
	// It never takes less: that is its limit.
	if least := time.Duration(c.Seconds-1) * time.Second; took < least {
		t.Errorf("took %s, want %s at least", milliseconds(took), least)
	}
	if c.Err != "" {
		eventually(t, "the API server's log says "+c.Err, func(context.Context) bool {
			text, err := os.ReadFile(w.layout.Log("control-plane"))
			return err == nil && strings.Contains(string(text), c.Err)
		})
	}
	if c.Cached == nil {
		return
	}
	w.mustReact(t, c)
	if asked := h.count(c.ID) > calls; asked == *c.Cached {
		t.Errorf("asked again: %v", asked)
	}
}

// mustReact logs in once with the case's token.
func (w *world) mustReact(t *testing.T, c reaction) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.record.APIServerURL()+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.ID)
	client := w.apiClient(t)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if refused := resp.StatusCode == http.StatusUnauthorized; refused == c.OK {
		t.Errorf("status %d, want a login: %v\n%s", resp.StatusCode, c.OK, text)
	}
}

// serveWebhook serves what stands in for the authenticator, with its certificate
// and on its port.
func (w *world) serveWebhook(t *testing.T, h http.Handler) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(w.layout.Authenticator("cert.pem"), w.layout.Authenticator("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", w.webhookAddr())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: patience,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(l, "", "") })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
}

// apiClient trusts the API server, and is nobody.
func (w *world) apiClient(t *testing.T) *http.Client {
	t.Helper()
	config := w.webhookTLS(t)
	config.RootCAs.AppendCertsFromPEM(w.cluster.CAPEM)
	return &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: config}}
}
