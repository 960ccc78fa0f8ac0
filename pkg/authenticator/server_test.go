package authenticator

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/servingcert"
	"github.com/capiam/capiam/pkg/stssim"
)

const goodRoles = `- rolearn: arn:aws:iam::111122223333:role/team/Dev
  username: dev:{{SessionName}}
  groups: [devs, "in-{{AccountID}}"]
`

const goodUsers = `- userarn: arn:aws:iam::111122223333:user/Alice
  username: alice
  groups: [admins]
`

func TestLogins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapRoles": goodRoles + `- rolearn: arn:aws:iam::111122223333:role/JWT
  username: "jwt:{{AccountID}}"
`, "mapUsers": goodUsers, "mapAccounts": "- \"" + accountB + "\"\n"})
	w.start(func(s *config.Settings) {
		s.TokenIssuers = append(s.TokenIssuers, config.TokenIssuer{IssuerURL: w.state.IssuerURL(accountB), AccountID: accountB})
	})
	w.waitReady()

	t.Run("role by presigned token", func(t *testing.T) {
		for _, v := range []string{apiV1, apiV1beta1} {
			a := w.reviewAs(v, w.presign(roleARN, clusterID))
			u := a.Status.User
			if a.HTTP != 200 || a.APIVersion != v || a.Kind != "TokenReview" || !a.Status.Authenticated || a.Status.Audiences != nil {
				t.Fatalf("got %+v", a)
			}
			if u.Username != "dev:alice-example.com" || !reflect.DeepEqual(u.Groups, []string{"devs", "in-111122223333"}) {
				t.Errorf("got %+v", u)
			}
			if !strings.HasPrefix(u.UID, "aws-iam-authenticator:111122223333:AROA") || strings.Contains(u.UID, "alice") {
				t.Errorf("uid %q", u.UID)
			}
			id := strings.TrimPrefix(u.UID, "aws-iam-authenticator:111122223333:")
			for k, want := range map[string]string{
				extraARN: "arn:aws:sts::111122223333:assumed-role/Dev/alice@example.com", extraCanonicalARN: "arn:aws:iam::111122223333:role/Dev",
				extraSessionName: "alice@example.com", extraPrincipalID: id, extraPrincipalID2: id,
			} {
				if got := u.Extra[k]; len(got) != 1 || got[0] != want {
					t.Errorf("extra %s: got %q, want %q", k, got, want)
				}
			}
			if got := u.Extra[extraAccessKeyID]; len(got) != 1 || !strings.HasPrefix(got[0], "ASIA") {
				t.Errorf("access key %q", got)
			}
		}
	})
	t.Run("user by both kinds", func(t *testing.T) {
		for _, tok := range []string{w.presign(userARN, clusterID), w.jwt(userARN, "", "RS256"), w.jwt(userARN, "", "ES384"), w.jwt(userARN, "kubernetes", "")} {
			if a := w.review(tok); a.Status.User.Username != "alice" || a.Status.User.Groups[0] != "admins" {
				t.Errorf("got %+v", a)
			}
		}
	})
	t.Run("a JWT has its own extras", func(t *testing.T) {
		u := w.review(w.jwt(userARN, "", "")).Status.User
		if u.UID != "" || len(u.Extra[extraCredentialID]) != 1 || !strings.HasPrefix(u.Extra[extraCredentialID][0], "JTI=") || u.Extra[extraAccessKeyID] != nil {
			t.Errorf("got %+v", u)
		}
		if u := w.review(w.jwt("arn:aws:iam::111122223333:role/path/JWT", "", "")).Status.User; u.Username != "jwt:111122223333" {
			t.Errorf("got %+v", u)
		}
	})
	t.Run("account", func(t *testing.T) {
		a := w.review(w.presign("arn:aws:iam::444455556666:role/Any", clusterID))
		if a.Status.User.Username != "arn:aws:iam::444455556666:role/Any" || a.Status.User.Groups != nil {
			t.Errorf("got %+v", a)
		}
	})
	foreign := "k8s-aws-v1.aaa"
	for name, tc := range map[string]struct{ token, code string }{
		"stranger":         {w.presign(strangeARN, clusterID), "not_mapped: arn:aws:iam::111122223333:user/Stranger is not mapped"},
		"stranger's JWT":   {w.jwt(strangeARN, "", ""), "not_mapped: "},
		"other cluster":    {w.presign(userARN, "another"), "wrong_cluster: "},
		"other audience":   {w.jwt(userARN, "another", ""), "wrong_audience: "},
		"session in a JWT": {w.jwt(roleARN, "", ""), "template_unfilled: "},
		"malformed":        {foreign, "malformed_token: "},
		"tampered":         {tamper(w.jwt(userARN, "", "")), "bad_signature: "},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.review(tc.token)
			if a.HTTP != 200 || a.Status.Authenticated || !strings.HasPrefix(a.Status.Error, tc.code) {
				t.Errorf("got %+v", a)
			}
		})
	}
	t.Run("not ours", func(t *testing.T) {
		for _, tok := range []string{"", "abc", "eyJ.a.b", "K8S-AWS-V1.abc", " k8s-aws-v1.abc"} {
			if a := w.review(tok); a.HTTP != 200 || a.Status.Authenticated || a.Status.Error != "" {
				t.Errorf("%q: got %+v", tok, a)
			}
		}
	})
	if log := w.log.String(); strings.Contains(log, "k8s-aws-v1.") || strings.Contains(log, "X-Amz-Signature") {
		t.Error("the log holds a token")
	}
}

// tamper flips a bit in a JWT's signature.
func tamper(jwt string) string {
	i := strings.LastIndexByte(jwt, '.') + 10
	c := byte('A')
	if jwt[i] == 'A' {
		c = 'B'
	}
	return jwt[:i] + string(c) + jwt[i+1:]
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.waitReady()
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"GET", "GET", "/authenticate", "", 405, "expected POST"},
		{"empty body", "POST", "/authenticate", "", 400, "expected a request body"},
		{"not JSON", "POST", "/authenticate", "not json", 400, "expected a request body to be a TokenReview"},
		{"other version", "POST", "/authenticate", `{"apiVersion":"authentication.k8s.io/v2","kind":"TokenReview"}`, 400, "TokenReview"},
		{"other kind", "POST", "/authenticate", `{"apiVersion":"authentication.k8s.io/v1","kind":"SubjectAccessReview"}`, 400, "TokenReview"},
		{"something after it", "POST", "/authenticate", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"}{}`, 400, "TokenReview"},
		{"too large", "POST", "/authenticate", strings.Repeat("x", 2<<20), 413, "too large"},
		{"other path", "GET", "/", "", 404, ""},
		{"trailing slash", "POST", "/authenticate/", "{}", 404, ""},
		{"health", "GET", "/healthz", "", 200, "ok"},
		{"metrics", "GET", "/metrics", "", 200, "aws_iam_authenticator_authenticate_latency_seconds"},
		{"ready", "GET", "/readyz", "", 200, "mappings/EKSConfigMap"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, w.webhook+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := w.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := make([]byte, 1<<20)
			n, _ := resp.Body.Read(body)
			if resp.StatusCode != tc.status || !strings.Contains(string(body[:n]), tc.want) {
				t.Errorf("got %d %s", resp.StatusCode, body[:n])
			}
		})
	}
	for _, path := range []string{"/healthz", "/anything"} {
		if status, body := w.get(w.health + path); status != 200 || body != "ok" {
			t.Errorf("health%s: %d %q", path, status, body)
		}
	}
}

func TestSTSTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(func(s *config.Settings) { s.TokenCacheTTL = 0 })
	w.waitReady()
	for _, tc := range []struct {
		name  string
		fault stssim.Fault
		http  int
		want  string
	}{
		{"throttled", stssim.Fault{Kind: stssim.FaultThrottle}, 503, "sts_throttled: "},
		{"internal error", stssim.Fault{Kind: stssim.FaultStatus, Status: 500}, 503, "sts_unreachable: "},
		{"redirect", stssim.Fault{Kind: stssim.FaultStatus, Status: 302}, 503, "sts_unreachable: "},
		{"dropped", stssim.Fault{Kind: stssim.FaultDrop}, 503, "sts_unreachable: "},
		{"huge", stssim.Fault{Kind: stssim.FaultHuge}, 503, "sts_unreachable: "},
		{"garbage", stssim.Fault{Kind: stssim.FaultGarbage}, 200, "sts_bad_answer: "},
		{"refused", stssim.Fault{Kind: stssim.FaultStatus, Status: 403, Body: "no"}, 200, "sts_refused: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tok := w.presign(userARN, clusterID)
			tc.fault.Action = "GetCallerIdentity"
			w.sts.SetFaults(stssim.Faults{tc.fault})
			a := w.review(tok)
			w.sts.SetFaults(nil)
			if a.HTTP != tc.http || !strings.HasPrefix(a.Message+a.Status.Error, tc.want) {
				t.Errorf("got %+v, want %d %s", a, tc.http, tc.want)
			}
			if a := w.review(tok); !a.Status.Authenticated {
				t.Errorf("afterwards: %+v", a)
			}
		})
	}
}

func TestCacheSparesSTS(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ttl  time.Duration
		want int
	}{{time.Minute, 1}, {0, 3}} {
		w := newWorld(t)
		w.awsAuth(map[string]string{"mapUsers": goodUsers})
		w.start(func(s *config.Settings) { s.TokenCacheTTL = tc.ttl })
		w.waitReady()
		tok := w.presign(userARN, clusterID)
		for range 3 {
			if a := w.review(tok); !a.Status.Authenticated {
				t.Fatalf("got %+v", a)
			}
		}
		if got := w.sts.Calls().Actions["GetCallerIdentity"]; got != tc.want {
			t.Errorf("ttl %v: %d calls of STS, want %d", tc.ttl, got, tc.want)
		}
		// A change of mappings counts at once all the same.
		w.awsAuth(map[string]string{"mapUsers": strings.Replace(goodUsers, "user/Alice", "user/Bob", 1)})
		w.eventually("Alice is cut off", func() bool { return !w.review(tok).Status.Authenticated })
	}
}

func TestScrubbedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(func(s *config.Settings) { s.ScrubbedAccounts = []string{accountA} })
	w.waitReady()
	u := w.review(w.presign(userARN, clusterID)).Status.User
	if u.UID != "aws-iam-authenticator:administrative:alice" || u.Extra != nil || u.Username != "alice" {
		t.Errorf("got %+v", u)
	}
	a := w.review(w.presign(strangeARN, clusterID))
	if a.Status.Authenticated || !strings.HasPrefix(a.Status.Error, "not_mapped") || strings.Contains(a.Status.Error, "Stranger") {
		t.Errorf("got %+v", a)
	}
	if log := w.log.String(); strings.Contains(log, "user/Stranger") {
		t.Error("the log names a scrubbed account's user")
	}
}

func TestReservedPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": strings.Replace(goodUsers, "username: alice", "username: \"eks:alice\"", 1)})
	w.start(func(s *config.Settings) {
		s.ReservedPrefixes = map[string][]string{"EKSConfigMap": {"aws:", "eks:"}}
	})
	w.waitReady()
	if a := w.review(w.presign(userARN, clusterID)); !strings.HasPrefix(a.Status.Error, "reserved_name: ") {
		t.Errorf("got %+v", a)
	}
}

func TestStopDrainsAndStartReadsEverythingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(nil)
	w.waitReady()
	for _, name := range []string{"key.pem", "../webhook.kubeconfig"} {
		info, err := os.Stat(filepath.Join(w.dir, "state", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	// A login that is under way when the stop comes is answered.
	tok := w.presign(userARN, clusterID)
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultDelay, Action: "GetCallerIdentity", Delay: 300 * time.Millisecond}})
	got := make(chan answer, 1)
	go func() { got <- w.review(tok) }()
	w.eventually("STS is asked", func() bool { return w.sts.Calls().Actions["GetCallerIdentity"] > 0 })
	w.shutdown()
	if a := <-got; !a.Status.Authenticated {
		t.Errorf("got %+v", a)
	}
	w.sts.SetFaults(nil)
	w.start(nil)
	w.waitReady()
	if a := w.review(tok); !a.Status.Authenticated {
		t.Errorf("got %+v", a)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.waitReady()
	old := w.server.cert.Leaf().SerialNumber
	if err := servingcert.SelfSign(filepath.Join(w.dir, "state"), "localhost", "127.0.0.1", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the new certificate is used", func() bool { return w.server.cert.Leaf().SerialNumber.Cmp(old) != 0 })
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.waitReady()
	count := func() int {
		_, text := w.get(w.health + "/metrics")
		return strings.Count(text, "\n")
	}
	before := 0
	for i := range 300 {
		w.review(presignedURL(fmt.Sprintf("https://sts.bogus-region-%d.amazonaws.com/?%s", i, query(nil))))
		if i == 0 {
			before = count()
		}
	}
	if after := count(); after > before+5 {
		t.Errorf("%d lines of metrics have become %d", before, after)
	}
}
