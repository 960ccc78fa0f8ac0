package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/authenticator/reason"
)

func TestResult(t *testing.T) {
	t.Parallel()
	want := map[string][]reason.Code{
		ResultSuccess:    {reason.OK},
		ResultThrottling: {reason.STSThrottled},
		ResultSTSError: {
			reason.STSUnreachable, reason.STSRefused, reason.STSBadAnswer, reason.WrongCluster, reason.ClockAhead,
			reason.IssuerUnreachable, reason.Overloaded, reason.Internal,
		},
		ResultUnknown: {
			reason.NotMapped, reason.UserIDMismatch, reason.ReservedName, reason.TemplateUnfilled,
			reason.NotReady, reason.EC2Unreachable,
		},
		ResultInvalid: {
			reason.NotOurs, reason.Malformed, reason.Expired, reason.ClockBehind, reason.WrongHost, reason.WrongPartition,
			reason.TokenKindOff, reason.UnknownIssuer, reason.UnknownKey, reason.BadSignature, reason.WrongAudience, reason.WrongAccount,
		},
	}
	results := map[reason.Code]string{}
	for result, codes := range want {
		for _, code := range codes {
			results[code] = result
		}
	}
	for _, code := range reason.All() {
		if got := Result(code); got != results[code] {
			t.Errorf("%s: got %s, want %s", code, got, results[code])
		}
		if code.Trouble() && Result(code) == ResultInvalid {
			t.Errorf("%s is no fault of the token", code)
		}
	}
}

func TestHandlerCountsItself(t *testing.T) {
	t.Parallel()
	m := New()
	// One serves over TLS, one on the health port.
	first, second := m.Handler(), m.Handler()
	first.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	w := httptest.NewRecorder()
	second.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`promhttp_metric_handler_requests_total{code="200"} 1`,
		`promhttp_metric_handler_requests_in_flight 1`,
		`aws_iam_authenticator_authenticate_latency_seconds_count{result="success"} 0`,
	} {
		if !strings.Contains(string(body), "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}
