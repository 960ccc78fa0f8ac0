package stsclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

// sts is a server that the client takes for STS.
func sts(t testing.TB, h http.HandlerFunc) (*Client, presigned.Token) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c, err := New(Options{
		ClusterID: "my-cluster", Partition: "aws",
		Network: outbound.Network{
			TLS: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, presigned.Token{
		Host: iam.STSHost{Name: "sts.eu-central-1.amazonaws.com", Region: "eu-central-1"}, AccessKeyID: "AKIDEXAMPLE",
		Query: "Action=GetCallerIdentity&X-Amz-Signature=secret", Expires: time.Unix(1, 0),
	}
}

func body(arn, account, userID string) string {
	b, _ := json.Marshal(map[string]any{"GetCallerIdentityResponse": map[string]any{"GetCallerIdentityResult": map[string]any{
		"Account": account, "Arn": arn, "UserId": userID}}})
	return string(b)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	c, tok := sts(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		_, _ = w.Write([]byte(body("arn:aws:iam::111122223333:user/Alice", "111122223333", "AIDAX")))
	})
	id, err := c.Identify(context.Background(), tok)
	if err != nil {
		t.Fatal(err)
	}
	if id.Canonical != "arn:aws:iam::111122223333:user/Alice" || id.AccessKeyID != "AKIDEXAMPLE" || !id.Expires.Equal(time.Unix(1, 0)) {
		t.Errorf("got %+v", id)
	}
	if got.Method != "GET" || got.Host != tok.Host.Name || got.URL.RequestURI() != "/?"+tok.Query {
		t.Errorf("got %s %s %s", got.Method, got.Host, got.URL)
	}
	if h := got.Header; h.Get("X-K8s-Aws-Id") != "my-cluster" || h.Get("Accept") != "application/json" || h.Get("Authorization") != "" || h.Get("Cookie") != "" {
		t.Errorf("got %v", h)
	}
}

// answerCase is what STS answers, what aws-iam-authenticator makes of it (Want),
// and where we differ Ours. Code is ours for each that is not accepted.
type answerCase struct {
	ID, Body, ARN, Account, UserID, Want, WantUserID, Canonical, Ours string
	Code                                                              reason.Code
	Cred, AccessKeyID                                                 string
	SessionName                                                       *string
	Status                                                            int
	TransportError                                                    string `json:"transport_error"`
	BodyReadError                                                     bool   `json:"body_read_error"`
}

// canonical returns the canonical ARN that the case wants: one of its own, or
// the ARN itself, with its path.
func (c *answerCase) canonical() string {
	switch c.Canonical {
	case "same", "same as arn", "path kept":
		return c.ARN
	}
	return c.Canonical
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []answerCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		if tc.ID == "id-akid" {
			t.Run(tc.ID, func(t *testing.T) {
				t.Parallel()
				testAccessKeyID(t, tc)
			})
			continue
		}
		t.Run(tc.ID, func(t *testing.T) {
			t.Parallel()
			c, tok := sts(t, func(w http.ResponseWriter, r *http.Request) {
				if tc.TransportError != "" || tc.BodyReadError {
					if tc.BodyReadError {
						w.Header().Set("Content-Length", "100")
						_, _ = w.Write([]byte("{"))
						w.(http.Flusher).Flush()
					}
					panic(http.ErrAbortHandler)
				}
				if tc.Status == 302 {
					w.Header().Set("Location", "https://sts.eu-central-1.amazonaws.com/elsewhere")
				}
				if tc.Status != 0 {
					w.WriteHeader(tc.Status)
				}
				if tc.ARN != "" {
					account := tc.Account
					if account == "" {
						account = "123456789012"
					}
					tc.Body = body(tc.ARN, account, tc.UserID)
				}
				_, _ = w.Write([]byte(tc.Body))
			})
			id, err := c.Identify(context.Background(), tok)
			accept := tc.Want == "accept" && tc.Ours != "reject"
			if accept == (tc.Code != "") {
				t.Fatalf("the case wants code %q, and %s", tc.Code, tc.Want)
			}
			var d *reason.Denial
			if !accept {
				if !errors.As(err, &d) || d.Code != tc.Code {
					t.Errorf("got %v, want %s", err, tc.Code)
				}
			} else {
				if err != nil || tc.SessionName != nil && id.SessionName != *tc.SessionName || tc.WantUserID != "" && id.UserID != tc.WantUserID {
					t.Errorf("got %+v, %v", id, err)
				}
				if want := tc.canonical(); want != "" && id.Canonical != want {
					t.Errorf("canonical %q, want %q", id.Canonical, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error holds the signature: %v", err)
			}
		})
	}
}

// testAccessKeyID: the key is the text before the first slash of the credential
// in the token that STS verified.
func testAccessKeyID(t *testing.T, tc answerCase) {
	now := time.Now().UTC()
	key, _, _ := strings.Cut(tc.Cred, "/")
	if tc.AccessKeyID == "" || key != tc.AccessKeyID {
		t.Fatalf("the case wants %q of %q", tc.AccessKeyID, tc.Cred)
	}
	// The scope is a real one: s3's, as in the case, would be refused.
	scope := key + "%2F" + now.Format("20060102") + "%2Fus-west-2%2Fsts%2Faws4_request"
	partition, _ := iam.LookupPartition("aws")
	parser, err := presigned.NewParser(partition)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := parser.Parse(presigned.Prefix+base64.RawURLEncoding.EncodeToString([]byte("https://sts.us-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"+
		"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+scope+"&X-Amz-Date="+now.Format("20060102T150405Z")+
		"&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature="+strings.Repeat("a", 64))), now)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := sts(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(body("arn:aws:iam::123456789012:user/Alice", "123456789012", "AIDAX")))
	})
	id, err := c.Identify(context.Background(), tok)
	if err != nil || id.AccessKeyID != tc.AccessKeyID {
		t.Errorf("got %+v, %v; want the key %s", id, err, tc.AccessKeyID)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		status     int
		want       reason.Code
	}{
		{"other cluster", `{"Error":{"Code":"SignatureDoesNotMatch","Message":"The request signature we calculated does not match"}}`, 403, reason.WrongCluster},
		{"in XML", `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>x</Message></Error></ErrorResponse>`, 403, reason.WrongCluster},
		{"expired signature", `{"Error":{"Code":"SignatureDoesNotMatch","Message":"Signature expired: 2026 is now earlier than"}}`, 403, reason.Expired},
		{"from the future", `{"Error":{"Code":"SignatureDoesNotMatch","Message":"Signature not yet current: 2026"}}`, 403, reason.ClockAhead},
		{"expired credentials", `{"Error":{"Code":"ExpiredToken"}}`, 403, reason.Expired},
		{"unknown key", `{"Error":{"Code":"InvalidClientTokenId"}}`, 403, reason.STSRefused},
		{"something else", `{"Error":{"Code":"Other"}}`, 400, reason.STSRefused},
		{"echoed text", `{"Error":{"Code":"a&b=secret"}}`, 400, reason.STSRefused},
		{"429 alone", ``, 429, reason.STSThrottled},
		{"503", ``, 503, reason.STSUnreachable},
		{"not one document", body("arn:aws:iam::111122223333:user/A", "111122223333", "AIDAX") + "{}", 200, reason.STSBadAnswer},
		{"other partition", body("arn:aws-cn:iam::111122223333:user/A", "111122223333", "AIDAX"), 200, reason.STSBadAnswer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, tok := sts(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			_, err := c.Identify(context.Background(), tok)
			var d *reason.Denial
			if !errors.As(err, &d) || d.Code != tc.want || strings.Contains(d.Detail, "secret") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestCallEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	arrived, gone := make(chan struct{}), make(chan struct{})
	c, tok := sts(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.Identify(ctx, tok)
		done <- err
	}()
	<-arrived
	cancel()
	var d *reason.Denial
	if err := <-done; !errors.As(err, &d) || d.Code != reason.STSUnreachable {
		t.Errorf("got %v", err)
	}
	<-gone
}

func TestEndpointStandsInForEveryHost(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "sts.eu-central-1.amazonaws.com" {
			t.Errorf("Host %q: the signature covers the token's own", r.Host)
		}
		_, _ = w.Write([]byte(body("arn:aws:iam::111122223333:user/A", "111122223333", "AIDAX")))
	}))
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c, err := New(Options{ClusterID: "c", Partition: "aws", Endpoint: srv.URL, Network: outbound.Network{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Identify(context.Background(), presigned.Token{Host: iam.STSHost{Name: "sts.eu-central-1.amazonaws.com"}}); err != nil {
		t.Error(err)
	}
}

func FuzzReadIdentity(f *testing.F) {
	f.Add([]byte(body("arn:aws:sts::111122223333:assumed-role/R/s", "111122223333", "AROAX:s")))
	f.Add([]byte(`{"GetCallerIdentityResponse":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := readIdentity(data, "aws")
		if err == nil && (id.UserID == "" || id.Canonical == "" || id.ARN.Partition != "aws") {
			t.Errorf("got %+v", id)
		}
		_ = refusal("sts", 403, data)
	})
}

// answerSeeds are answers that are scanned, and from the third on such that are
// left to encoding/json, or refused by both.
var answerSeeds = []string{
	body("arn:aws:sts::111122223333:assumed-role/R/s", "111122223333", "AROAX:s"),
	`{"GetCallerIdentityResponse": {"GetCallerIdentityResult": {"Account": "1", "Arn": "a", "UserId": "u", "More": [1]}, "ResponseMetadata": {"RequestId": "r"}}, "x": null}` + "\n",
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"1","account":"2"}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"1","Account":"2"}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"a"},"getcalleridentityresult":{"Arn":"b"}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"a"}},"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"b"}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"\u0061"}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":null}}}`,
	`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"a"}}}{}`,
	`{"GetCallerIdentityResponse":null}`,
}

func TestScanAnswer(t *testing.T) {
	t.Parallel()
	for i, seed := range answerSeeds {
		if _, ok := scanAnswer([]byte(seed)); ok != (i < 2) {
			t.Errorf("%s: scanned: %t", seed, ok)
		}
	}
}

func FuzzScanAnswer(f *testing.F) {
	for _, s := range answerSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := scanAnswer(data)
		if !ok {
			return
		}
		var slow answer
		if err := json.Unmarshal(data, &slow); err != nil || fast != slow.Response.Result {
			t.Errorf("%q: read as %+v, and by encoding/json as %+v, %v", data, fast, slow.Response.Result, err)
		}
	})
}
