package install

import (
	"errors"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// The errors are what Kubernetes 1.36's API server says; see test/e2e for one
// that says it.
func TestJudgeWebhook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status authenticationv1.TokenReviewStatus
		// want is "" if the authenticator has answered, else part of the error.
		want string
		off  bool
	}{
		{"refused by capiam", authenticationv1.TokenReviewStatus{Error: "[invalid bearer token, malformed_token: the token is no presigned URL]"}, "", false},
		{"refused by aws-iam-authenticator", authenticationv1.TokenReviewStatus{Error: "[invalid bearer token, unknown]"}, "", false},
		{"no webhook", authenticationv1.TokenReviewStatus{Error: "invalid bearer token"}, "does not ask", true},
		{"no authenticator at all", authenticationv1.TokenReviewStatus{}, "does not ask", true},
		{"nobody listens", authenticationv1.TokenReviewStatus{Error: `[invalid bearer token, Post "https://localhost:21362/authenticate?timeout=30s": dial tcp 127.0.0.1:21362: connect: connection refused]`}, "cannot reach", false},
		{"another CA", authenticationv1.TokenReviewStatus{Error: `[invalid bearer token, Post "https://localhost:21362/authenticate?timeout=30s": tls: failed to verify certificate: x509: certificate signed by unknown authority]`}, "x509", false},
		{"too slow", authenticationv1.TokenReviewStatus{Error: `[invalid bearer token, Post "https://localhost:21362/authenticate?timeout=30s": context deadline exceeded]`}, "cannot reach", false},
		{"taken", authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "anybody"}}, `"anybody"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := judgeWebhook(tt.status)
			switch {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			case errors.Is(err, ErrWebhookOff) != tt.off:
				t.Errorf("%v is ErrWebhookOff: %v", err, !tt.off)
			}
		})
	}
}
