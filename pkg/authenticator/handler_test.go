package authenticator

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/reason"
)

// A TokenReview that says nothing of its type is what the original's own tests
// send; any API server takes such an answer.
func TestReviewWithoutType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(nil)
	w.waitReady()
	for _, tc := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"mapped", `{"metadata":{"creationTimestamp":null},"spec":{"token":"` + w.presign(userARN, clusterID) + `"},"status":{"user":{}}}`, 200, `{"status":{"authenticated":true,"user":{"username":"alice"`},
		{"not ours", `{"spec":{"token":"x"}}`, 200, `{"status":{"authenticated":false}}`},
		{"no token", `{"spec":{}}`, 400, "TokenReview"},
		{"nothing", `null`, 400, "TokenReview"},
		{"half a type", `{"kind":"TokenReview","spec":{"token":"x"}}`, 400, "TokenReview"},
	} {
		if status, body := w.post(tc.body); status != tc.status || !strings.HasPrefix(body, tc.want) && !strings.Contains(body, "expected") {
			t.Errorf("%s: %d %s", tc.name, status, body)
		}
	}
}

// bareHandler returns a handler whose decider is not there, and its log.
func bareHandler() (*handler, *syncBuffer) {
	log := &syncBuffer{}
	return newHandler(nil, metrics.New(), slog.New(slog.NewJSONHandler(log, nil)), nil), log
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	h, log := bareHandler()
	rec := httptest.NewRecorder()
	body := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"k8s-aws-v1.c2VjcmV0"}}`
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/authenticate", strings.NewReader(body)))
	if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), string(reason.Internal)) {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if text := log.String(); !strings.Contains(text, "nil pointer") || !strings.Contains(text, "handler.go") || strings.Contains(text, "c2VjcmV0") {
		t.Errorf("got %s", text)
	}
	if len(h.slots[metrics.TokenPresigned]) != 0 {
		t.Error("the login keeps its place")
	}
}

// TestLongRequestsAreFew sends long bodies of which the end does not come: only
// so many are held in memory.
func TestLongRequestsAreFew(t *testing.T) {
	t.Parallel()
	for name, declared := range map[string]bool{"length declared": true, "chunked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := bareHandler()
			long := strings.Repeat(" ", keptBuffer)
			held := make(chan struct{}, largeAtOnce)
			end := make(chan struct{})
			done := make(chan int, largeAtOnce)
			for range largeAtOnce {
				r, w := io.Pipe()
				go func() {
					_, _ = io.WriteString(w, long+" ")
					held <- struct{}{}
					<-end
					_, _ = io.WriteString(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"x"}}`)
					_ = w.Close()
				}()
				req := httptest.NewRequest(http.MethodPost, "/authenticate", r)
				req.ContentLength = -1
				if declared {
					req.ContentLength = keptBuffer + 100
				}
				go func() {
					rec := httptest.NewRecorder()
					h.ServeHTTP(rec, req)
					done <- rec.Code
				}()
			}
			for range largeAtOnce {
				<-held
			}
			post := func(body string) (int, string) {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/authenticate", strings.NewReader(body)))
				return rec.Code, rec.Body.String()
			}
			if code, body := post(long + "{}"); code != http.StatusServiceUnavailable || !strings.Contains(body, string(reason.Overloaded)) {
				t.Errorf("one more: %d %s", code, body)
			}
			if code, body := post(`{"spec":{"token":"x"}}`); code != http.StatusOK {
				t.Errorf("a short one: %d %s", code, body)
			}
			close(end)
			for range largeAtOnce {
				if code := <-done; code != http.StatusServiceUnavailable && code != http.StatusOK {
					t.Errorf("got %d", code)
				}
			}
			if len(h.large) != 0 {
				t.Errorf("%d places are kept", len(h.large))
			}
		})
	}
}

// TestHTTP2DebugIsNotLogged holds back what GODEBUG=http2debug=2 makes net/http
// say.
func TestHTTP2DebugIsNotLogged(t *testing.T) {
	t.Parallel()
	log := &syncBuffer{}
	s := &Server{opts: Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}}
	s.quietLog().Print(`http2: server read frame DATA flags=END_STREAM stream=1 len=5 data="token"`)
	s.quietLog().Print("http: TLS handshake error from 127.0.0.1:1: EOF")
	if text := log.String(); strings.Contains(text, "token") || !strings.Contains(text, "handshake") {
		t.Errorf("got %s", text)
	}
}

// TestScrubbedFallbackIsNotNamed: whom the fallback of his account maps has his
// ARN as a name.
func TestScrubbedFallbackIsNotNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapAccounts": "- \"" + accountA + "\"\n"})
	w.start(func(s *config.Settings) { s.ScrubbedAccounts = []string{accountA} })
	w.waitReady()
	if u := w.review(w.presign(userARN, clusterID)).Status.User; u.Username != userARN {
		t.Errorf("got %+v", u)
	}
	if strings.Contains(w.log.String(), userARN) {
		t.Error("the log names a scrubbed account's user")
	}
}

// FuzzAppendReview shows that every answer is JSON that says what was decided.
func FuzzAppendReview(f *testing.F) {
	f.Add("u", "g", true)
	f.Add("\x00\"\\", "\xff", false)
	f.Fuzz(func(t *testing.T, username, group string, scrubbed bool) {
		dec := Decision{Code: reason.OK, Username: username, Groups: []string{group}, Identity: &identity.Identity{UserID: group}}
		var a answer
		if err := json.Unmarshal(appendReview(nil, apiV1, &dec, scrubbed), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(a.RawStatus, &a.Status); err != nil || !a.Status.Authenticated || a.Kind != kindReview || len(a.Status.User.Groups) != 1 {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}
