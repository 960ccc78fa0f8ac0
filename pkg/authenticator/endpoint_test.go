package authenticator

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
)

// endpointCase is a request to the webhook, and the original's answer; Ours is
// where our own is another.
type endpointCase struct {
	ID string
	// What is sent: by default a POST with the review of a token.
	Method        string
	Request       *string
	Token         string
	NoContentType bool
	// What STS answers: an identity, or a status with a body.
	ARN, UserID, STSBody string
	STS                  int
	// What comes back.
	Status            int
	Text, ContentType string
	User              *json.RawMessage
	Metric, NotInLog  string
	Ours              *struct {
		Status int
		Error  string
	}
	// Paths are other requests, and the status of each.
	Paths map[string]int
}

// endpointKeys are the mappings of the cases.
const endpointKeys serverKeys = `  mapRoles:
  - rolearn: arn:aws:iam::012345678901:role/Test
    username: TestUser
    groups: [sys:admin, listers]
  - rolearn: arn:aws:iam::777788889999:role/Scrubbed
    username: scrubbed
  mapUsers:
  - userarn: arn:aws:iam::012345678901:user/Test
    username: TestUser
    groups: [sys:admin, listers]
  mapAccounts: ["444455556666"]
  scrubbedAccounts: ["777788889999"]
`

func endpointCases(t *testing.T) []endpointCase {
	t.Helper()
	data, err := os.ReadFile("testdata/webhook-endpoint.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []endpointCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// TestEndpointConformance and TestOracleEndpoint run the table against our
// webhook and the original's.
func TestEndpointConformance(t *testing.T) {
	t.Parallel()
	s := ours(t, endpointKeys)
	for _, c := range endpointCases(t) {
		t.Run(c.ID, func(t *testing.T) { c.run(t, s, true) })
	}
}

func TestOracleEndpoint(t *testing.T) {
	s := original(t, endpointKeys)
	for _, c := range endpointCases(t) {
		t.Run(c.ID, func(t *testing.T) { c.run(t, s, false) })
	}
}

func (c *endpointCase) run(t *testing.T, s *subject, ours bool) {
	t.Helper()
	s.t = t
	for request, want := range c.Paths {
		method, path, _ := strings.Cut(request, " ")
		if got := s.do(method, path, "", "").HTTP; got != want {
			t.Errorf("%s: %d, want %d", request, got, want)
		}
	}
	if c.Paths != nil {
		return
	}
	before, logged := s.results()[c.Metric], len(s.log())
	got := c.send(s)
	want := c.Status
	if ours && c.Ours != nil {
		want = c.Ours.Status
		if said := got.Message + got.Status.Error; got.Status.Authenticated || !strings.HasPrefix(said, c.Ours.Error+": ") {
			t.Errorf("%s, want a denial with %s", got.Text, c.Ours.Error)
		}
	}
	if got.HTTP != want {
		t.Errorf("status %d, want %d: %s", got.HTTP, want, got.Text)
	}
	if !strings.Contains(got.Text, c.Text) || !strings.HasPrefix(got.ContentType, c.ContentType) {
		t.Errorf("%s: %s", got.ContentType, got.Text)
	}
	if n := s.results()[c.Metric] - before; n != 1 {
		t.Errorf("counted %d times as %s", n, c.Metric)
	}
	if c.NotInLog != "" && strings.Contains(s.log()[logged:], c.NotInLog) {
		t.Errorf("the log says %s", c.NotInLog)
	}
	c.checkUser(t, got)
}

// send sends the case's request.
func (c *endpointCase) send(s *subject) reply {
	switch {
	case c.Method != "":
		return s.do(c.Method, "/authenticate", "", "")
	case c.Request != nil:
		return s.do(http.MethodPost, "/authenticate", *c.Request, "application/json")
	}
	fault := answering(c.STS, c.STSBody)
	if c.ARN != "" {
		fault = answering(http.StatusOK, callerBody(c.ARN, strings.Split(c.ARN, ":")[4], c.UserID))
	}
	tok := c.Token
	if tok == "" {
		tok = s.token()
	}
	if !c.NoContentType {
		return s.review(tok, fault)
	}
	s.says(fault)
	return s.do(http.MethodPost, "/authenticate", `{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview","spec":{"token":"`+tok+`"}}`, "")
}

// checkUser checks who the answer says it is: all of it, where the case says
// more than the name.
func (c *endpointCase) checkUser(t *testing.T, got reply) {
	t.Helper()
	if c.User == nil {
		if got.Status.Authenticated {
			t.Errorf("somebody got in: %s", got.Text)
		}
		return
	}
	var have, want map[string]any
	if err := json.Unmarshal(*c.User, &want); err != nil {
		t.Fatal(err)
	}
	var status struct{ User json.RawMessage }
	if err := json.Unmarshal(got.RawStatus, &status); err != nil {
		t.Fatalf("%s: %v", got.Text, err)
	}
	if err := json.Unmarshal(status.User, &have); err != nil {
		t.Fatal(err)
	}
	if len(want) == 1 {
		have = map[string]any{"username": have["username"]}
	}
	if !got.Status.Authenticated || !reflect.DeepEqual(have, want) {
		t.Errorf("got %v, want %v", have, want)
	}
}
