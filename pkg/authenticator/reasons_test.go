package authenticator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/authenticator/stsclient"
	"github.com/capiam/capiam/pkg/authenticator/webidentity"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/stssim"
)

// reasonRow is a login, and the reason in its answer.
type reasonRow struct {
	want  reason.Code
	token func(w *world) string
	// fault is STS's or the issuer's while the login lasts; zero is none.
	fault stssim.Fault
}

// reasonWorld is an authenticator, and what is asked of it.
type reasonWorld struct {
	name    string
	prepare func(w *world)
	edit    func(w *world, s *config.Settings)
	unready bool
	rows    []reasonRow
}

// noEC2 is an EC2 that cannot be reached.
type noEC2 struct{}

func (noEC2) PrivateDNSName(context.Context, string) (string, error) {
	return "", reason.New(reason.EC2Unreachable, "no answer")
}

// asked is a token that passes every check made here; what STS says of it is a
// fault's business.
func asked(*world) string {
	return presignedURL("https://sts.us-west-2.amazonaws.com/?" + query(nil))
}

// with is asked with other parameters.
func with(name, value string) func(*world) string {
	return func(*world) string {
		return presignedURL("https://sts.us-west-2.amazonaws.com/?" + query(map[string]string{name: value}))
	}
}

func presignedBy(arn, cluster string) func(*world) string {
	return func(w *world) string { return w.presign(arn, cluster) }
}

func jwtBy(arn, audience string) func(*world) string {
	return func(w *world) string { return w.jwt(arn, audience, "ES384") }
}

// answering is STS that answers a status and a body.
func answering(status int, body string) stssim.Fault {
	return stssim.Fault{Kind: stssim.FaultStatus, Action: "GetCallerIdentity", Status: status, Body: body}
}

// callerBody is GetCallerIdentity's answer.
func callerBody(arn, account, userID string) string {
	b, _ := json.Marshal(map[string]any{"GetCallerIdentityResponse": map[string]any{"GetCallerIdentityResult": map[string]any{
		"Account": account, "Arn": arn, "UserId": userID}}})
	return string(b)
}

// otherKid is a JWT that names a key its issuer does not have.
func otherKid(w *world) string {
	parts := strings.SplitN(strings.TrimPrefix(w.jwt(userARN, "", "ES384"), presigned.Prefix), ".", 2)
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		w.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(head, &fields); err != nil {
		w.t.Fatal(err)
	}
	fields["kid"] = "EC384_99"
	if head, err = json.Marshal(fields); err != nil {
		w.t.Fatal(err)
	}
	return presigned.Prefix + base64.RawURLEncoding.EncodeToString(head) + "." + parts[1]
}

const nodeARN = "arn:aws:sts::111122223333:assumed-role/Node/i-0c6f21bf1f24f9708"

func reasonWorlds() []reasonWorld {
	aDay := time.Now().UTC().AddDate(0, 0, -1)
	return []reasonWorld{
		{
			name: "ordinary",
			prepare: func(w *world) {
				w.awsAuth(map[string]string{"mapUsers": goodUsers, "mapRoles": goodRoles +
					"- rolearn: arn:aws:iam::111122223333:role/Node\n  username: system:node:{{EC2PrivateDNSName}}\n" +
					"- rolearn: arn:aws:iam::111122223333:role/Reserved\n  username: eks:somebody\n"})
				w.adjust = func(s *Server) { s.decider.opts.NodeNames = noEC2{} }
			},
			edit: func(_ *world, s *config.Settings) {
				s.ReservedPrefixes = map[string][]string{mapping.BackendEKSConfigMap: {"eks:"}}
			},
			rows: []reasonRow{
				{want: reason.OK, token: presignedBy(userARN, clusterID)},
				{want: reason.OK, token: jwtBy(userARN, "")},
				{want: reason.NotOurs, token: func(*world) string { return "somebody-elses" }},
				{want: reason.Malformed, token: func(*world) string { return "k8s-aws-v1.junk" }},
				{want: reason.Malformed, token: with("Version", "2011-06-16")},
				{want: reason.Expired, token: func(*world) string {
					return presignedURL("https://sts.us-west-2.amazonaws.com/?" + query(map[string]string{
						"X-Amz-Date":       aDay.Format("20060102T150405Z"),
						"X-Amz-Credential": "AKIDEXAMPLE12345678/" + aDay.Format("20060102") + "/us-west-2/sts/aws4_request",
					}))
				}},
				{want: reason.WrongHost, token: func(*world) string { return presignedURL("https://example.com/?" + query(nil)) }},
				{want: reason.WrongPartition, token: func(*world) string {
					return presignedURL("https://sts.cn-north-1.amazonaws.com.cn/?" + query(nil))
				}},
				{want: reason.WrongCluster, token: presignedBy(userARN, "another")},
				{want: reason.UnknownIssuer, token: jwtBy("arn:aws:iam::444455556666:user/Alice", "")},
				{want: reason.UnknownKey, token: otherKid},
				{want: reason.BadSignature, token: func(w *world) string { return tamper(w.jwt(userARN, "", "RS256")) }},
				{want: reason.WrongAudience, token: jwtBy(userARN, "another")},
				{want: reason.STSRefused, token: asked, fault: answering(403, "no")},
				{want: reason.STSBadAnswer, token: asked, fault: answering(200, "xxxx")},
				{want: reason.STSThrottled, token: asked, fault: answering(400, "Throttling")},
				{want: reason.STSUnreachable, token: asked, fault: answering(500, "")},
				{want: reason.EC2Unreachable, token: asked, fault: answering(200, callerBody(nodeARN, accountA, "AROAX:i-0c6f21bf1f24f9708"))},
				{want: reason.NotMapped, token: presignedBy(strangeARN, clusterID)},
				{want: reason.TemplateUnfilled, token: jwtBy(roleARN, "")},
				{want: reason.ReservedName, token: presignedBy("arn:aws:iam::111122223333:role/Reserved", clusterID)},
			},
		},
		{
			name: "clock behind by an hour",
			prepare: func(w *world) {
				w.now = func() time.Time { return time.Now().Add(-time.Hour) }
			},
			rows: []reasonRow{
				{want: reason.ClockAhead, token: presignedBy(userARN, clusterID)},
				{want: reason.ClockBehind, token: jwtBy(userARN, "")},
			},
		},
		{
			name: "presigned tokens alone",
			edit: func(_ *world, s *config.Settings) { s.Tokens = []string{config.TokenPresigned} },
			rows: []reasonRow{{want: reason.TokenKindOff, token: jwtBy(userARN, "")}},
		},
		{
			name: "an issuer under another account",
			edit: func(w *world, s *config.Settings) {
				s.TokenIssuers = []config.TokenIssuer{{IssuerURL: w.state.IssuerURL(accountB), AccountID: accountA}}
			},
			rows: []reasonRow{{want: reason.WrongAccount, token: jwtBy("arn:aws:iam::444455556666:user/Alice", "")}},
		},
		{
			name: "no keys",
			prepare: func(w *world) {
				w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultStatus, Action: stssim.ActionDiscovery, Status: 500}})
			},
			rows: []reasonRow{{want: reason.IssuerUnreachable, token: jwtBy(userARN, ""),
				fault: stssim.Fault{Kind: stssim.FaultStatus, Action: stssim.ActionDiscovery, Status: 500}}},
		},
		{
			name:    "no mappings yet",
			prepare: func(w *world) { w.kube.Refuse(503) },
			unready: true,
			rows:    []reasonRow{{want: reason.NotReady, token: jwtBy(userARN, "")}, {want: reason.NotReady, token: presignedBy(userARN, clusterID)}},
		},
		{
			name: "user IDs",
			edit: func(w *world, s *config.Settings) {
				s.BackendMode, s.DynamicFileUserIDStrict = []string{mapping.BackendDynamicFile}, true
				s.DynamicFilePath = filepath.Join(w.dir, "dynamic.json")
				text := `{"mapUsers":[{"userid":"AIDAX","userarn":"arn:aws:iam::111122223333:user/Bob","username":"bob"}]}`
				if err := os.WriteFile(s.DynamicFilePath, []byte(text), 0o600); err != nil {
					w.t.Fatal(err)
				}
			},
			rows: []reasonRow{
				{want: reason.OK, token: asked, fault: answering(200, callerBody("arn:aws:iam::111122223333:user/Bob", accountA, "AIDAX"))},
				{want: reason.UserIDMismatch, token: asked, fault: answering(200, callerBody(userARN, accountA, "AIDAX"))},
			},
		},
	}
}

// TestEveryReason gets each reason there is in an answer, with the status that
// belongs to it: 503 for trouble, which the API server asks about once and does
// not remember, else 200.
func TestEveryReason(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[reason.Code]bool{}
	note := func(code reason.Code) {
		mu.Lock()
		defer mu.Unlock()
		seen[code] = true
	}
	t.Run("worlds", func(t *testing.T) {
		for _, rw := range reasonWorlds() {
			t.Run(rw.name, func(t *testing.T) {
				t.Parallel()
				testReasons(t, rw, note)
			})
		}
		t.Run("overloaded", func(t *testing.T) {
			t.Parallel()
			h := slowHandler(t, func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed })
			for range maxAtOnce {
				h.slots[metrics.TokenPresigned] <- struct{}{}
			}
			checkAnswer(t, serve(h, asked(nil)), reason.Overloaded)
			note(reason.Overloaded)
		})
		t.Run("fault", func(t *testing.T) {
			t.Parallel()
			h, _ := bareHandler()
			checkAnswer(t, serve(h, asked(nil)), reason.Internal)
			note(reason.Internal)
		})
	})
	for _, code := range reason.All() {
		if !seen[code] {
			t.Errorf("no answer has the reason %s", code)
		}
	}
}

func testReasons(t *testing.T, rw reasonWorld, note func(reason.Code)) {
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	if rw.prepare != nil {
		rw.prepare(w)
	}
	w.start(func(s *config.Settings) {
		s.TokenCacheTTL = 0
		if rw.edit != nil {
			rw.edit(w, s)
		}
	})
	if !rw.unready {
		w.waitReady()
	}
	for _, row := range rw.rows {
		tok := row.token(w)
		if row.fault.Kind != "" {
			w.sts.SetFaults(stssim.Faults{row.fault})
		}
		a := w.review(tok)
		w.sts.SetFaults(nil)
		checkAnswer(t, a, row.want)
		note(row.want)
	}
}

// checkAnswer checks an answer's reason and status.
func checkAnswer(t *testing.T, a answer, want reason.Code) {
	t.Helper()
	switch {
	case want == reason.OK:
		if a.HTTP != http.StatusOK || !a.Status.Authenticated || a.Status.User.Username == "" || a.Status.Error != "" {
			t.Errorf("got %+v, want a login", a)
		}
	case want == reason.NotOurs:
		if a.HTTP != http.StatusOK || a.Status.Authenticated || a.Status.Error != "" {
			t.Errorf("got %+v, want no login and no error", a)
		}
	case want.Trouble():
		if a.HTTP != http.StatusServiceUnavailable || a.Kind != "Status" || !strings.HasPrefix(a.Message, string(want)+": ") {
			t.Errorf("got %+v, want 503 with %s", a, want)
		}
	default:
		if a.HTTP != http.StatusOK || a.Status.Authenticated || a.Status.User.Username != "" || !strings.HasPrefix(a.Status.Error, string(want)+": ") {
			t.Errorf("got %+v, want a denial with %s", a, want)
		}
	}
}

// slowHandler is a handler that dials STS by a function, and takes no JWT.
func slowHandler(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error)) *handler {
	t.Helper()
	partition, _ := iam.LookupPartition("aws")
	parser, err := presigned.NewParser(partition)
	if err != nil {
		t.Fatal(err)
	}
	client, err := stsclient.New(stsclient.Options{ClusterID: clusterID, Partition: "aws", Network: outbound.Network{Dial: dial}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	verifier := webidentity.New(webidentity.Options{Partition: "aws"})
	t.Cleanup(verifier.Close)
	m := metrics.New()
	return newHandler(NewDecider(DeciderOptions{Presigned: parser, STS: client, JWT: verifier, Metrics: m}), m, slog.New(slog.DiscardHandler), nil)
}

// serve asks a handler about a token.
func serve(h http.Handler, token string) answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/authenticate", strings.NewReader(
		`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`+token+`"}}`)))
	a := answer{HTTP: rec.Code}
	_ = json.Unmarshal(rec.Body.Bytes(), &a) // what is no answer fails the check
	_ = json.Unmarshal(a.RawStatus, &a.Status)
	return a
}

// TestLoginsAtOnce: when as many logins are under way as there is room for, the
// next is told so at once, and other kinds of token are judged all the same.
func TestLoginsAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := slowHandler(t, func(context.Context, string, string) (net.Conn, error) {
		<-release
		return nil, net.ErrClosed
	})
	signed := func(i int) string {
		return with("X-Amz-Signature", fmt.Sprintf("%064x", i))(nil)
	}
	slots := h.slots[metrics.TokenPresigned]
	if cap(slots) != 1024 {
		t.Errorf("there is room for %d logins, want 1,024", cap(slots))
	}
	for range cap(slots) - 1 {
		slots <- struct{}{} // calls to STS have a limit of their own
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { checkAnswer(t, serve(h, signed(0)), reason.STSUnreachable) })
	for deadline := time.Now().Add(time.Minute); len(slots) < cap(slots) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	checkAnswer(t, serve(h, signed(1)), reason.Overloaded)
	checkAnswer(t, serve(h, "somebody-elses"), reason.NotOurs)
	if a := serve(h, "k8s-aws-v1.a.b.c"); a.HTTP != http.StatusOK {
		t.Errorf("got %+v", a)
	}
	close(release)
	waiting.Wait()
	if len(slots) != cap(slots)-1 {
		t.Errorf("%d slots are taken", len(slots))
	}
}
