package login

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/capiam/capiam/pkg/token"
)

// apiServer answers the two questions a login asks. Who a token is for is
// answered by who, what its user may by may.
type apiServer struct {
	*httptest.Server

	mu     sync.Mutex
	tokens map[string]bool
	who    func() (username string, status int)
	may    func(authorizationv1.ResourceAttributes) bool
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{
		tokens: map[string]bool{},
		who:    func() (string, int) { return "dev", http.StatusCreated },
		may:    func(authorizationv1.ResourceAttributes) bool { return false },
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // some clients do not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = true
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
		username, status := s.who()
		if status >= 300 {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
				Status:   "Failure", Code: int32(status), Reason: reasons[status],
			})
			return
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{
			UserInfo: authenticationv1.UserInfo{
				Username: username, Groups: []string{"ops", "system:authenticated"},
				Extra: map[string]authenticationv1.ExtraValue{"arn": {"x"}},
			},
		}})
	case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
		var review authorizationv1.SelfSubjectAccessReview
		body, err := io.ReadAll(r.Body)
		if err == nil {
			// In whatever encoding the client prefers.
			_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Status.Allowed = s.may(*review.Spec.ResourceAttributes)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(review)
	default:
		http.NotFound(w, r)
	}
}

var reasons = map[int]metav1.StatusReason{
	http.StatusUnauthorized: metav1.StatusReasonUnauthorized, http.StatusForbidden: metav1.StatusReasonForbidden,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
}

func (s *apiServer) cluster() Cluster {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return Cluster{Server: s.URL, CAPEM: ca, Timeout: time.Minute}
}

func TestTry(t *testing.T) {
	t.Parallel()
	allow := func(verb, resource string) func(authorizationv1.ResourceAttributes) bool {
		return func(a authorizationv1.ResourceAttributes) bool { return a.Verb == verb && a.Resource == resource }
	}
	for _, test := range []struct {
		name string
		may  func(authorizationv1.ResourceAttributes) bool
		want string
	}{
		{"administrator", func(authorizationv1.ResourceAttributes) bool { return true }, "everything"},
		{"editor", allow("create", "deployments"), "edit workloads in all namespaces"},
		{"viewer", allow("list", "pods"), "view workloads in all namespaces"},
		{"nobody", allow("", ""), MayNothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			s.may = test.may
			r, err := s.cluster().Try(t.Context(), token.Token{Value: "a-token"})
			if err != nil {
				t.Fatal(err)
			}
			if r.Refused || r.Username != "dev" || strings.Join(r.Groups, ",") != "ops" || r.May != test.want || r.Extra["arn"][0] != "x" || r.Took <= 0 {
				t.Errorf("got %+v, want it to be allowed %s", r, test.want)
			}
			if !s.tokens["a-token"] || len(s.tokens) != 1 {
				t.Errorf("%d tokens were sent, want that one", len(s.tokens))
			}
		})
	}
}

func TestTryRefused(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.who = func() (string, int) { return "", http.StatusUnauthorized }
	r, err := s.cluster().Try(t.Context(), token.Token{Value: "a-token"})
	if err != nil || !r.Refused || r.Username != "" {
		t.Errorf("got %+v, %v; want a refusal", r, err)
	}
}

func TestTryErrors(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.who = func() (string, int) { return "", http.StatusInternalServerError }
	if r, err := s.cluster().Try(t.Context(), token.Token{Value: "a-token"}); err == nil {
		t.Errorf("got %+v of a server that fails", r)
	} else if strings.Contains(err.Error(), "a-token") {
		t.Errorf("the token is in %q", err)
	}
	stranger := newAPIServer(t).cluster()
	stranger.CAPEM = nil // so the system's roots, which do not have it
	if r, err := stranger.Try(t.Context(), token.Token{Value: "a-token"}); err == nil {
		t.Errorf("got %+v of a server that is not trusted", r)
	}
	if r, err := (Cluster{Server: "https://127.0.0.1:1", CAPEM: []byte("x")}).Try(t.Context(), token.Token{}); err == nil {
		t.Errorf("got %+v with a CA that is none", r)
	}
}

func options() token.Options {
	return token.Options{
		ClusterID: "c", Region: "us-west-2",
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", "")),
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	asked := 0
	s.who = func() (string, int) {
		asked++
		switch {
		case asked < 3:
			return "", http.StatusUnauthorized
		case asked == 3:
			return "", http.StatusInternalServerError // passing trouble
		default:
			return "dev", http.StatusCreated
		}
	}
	r, ok, err := s.cluster().Until(t.Context(), Presigned, options(), func(r *Result) bool { return r.Username == "dev" })
	if err != nil || !ok || r.Username != "dev" || asked != 4 {
		t.Errorf("got %+v, %t, %v after %d tries", r, ok, err, asked)
	}
}

func TestUntilTimeIsUp(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s.who = func() (string, int) { return "other", http.StatusCreated }
	tries := 0
	r, ok, err := s.cluster().Until(ctx, Presigned, options(), func(*Result) bool {
		if tries++; tries == 2 {
			cancel(context.DeadlineExceeded)
		}
		return false
	})
	if err != nil || ok || r == nil || r.Username != "other" {
		t.Errorf("got %+v, %t, %v; want the last result", r, ok, err)
	}
	stop := errors.New("stopped")
	ctx, cancel = context.WithCancelCause(t.Context())
	_, ok, err = s.cluster().Until(ctx, Presigned, options(), func(*Result) bool { cancel(stop); return false })
	if ok || !errors.Is(err, stop) {
		t.Errorf("got %t, %v; want %v", ok, err, stop)
	}
}

func TestUntilWithoutToken(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	o := options()
	failure := errors.New("no credentials")
	o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, failure })
	for _, kind := range []TokenKind{Presigned, JWT} {
		_, ok, err := s.cluster().Until(t.Context(), kind, o, func(*Result) bool { return true })
		if ok || !errors.Is(err, failure) {
			t.Errorf("%s: got %t, %v; want %v", kind, ok, err, failure)
		}
	}
	if len(s.tokens) != 0 {
		t.Error("something was sent")
	}
}
