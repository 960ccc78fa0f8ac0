package authenticator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

func TestTokenCache(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	c := newTokenCache(time.Minute, 2)
	a, b, d := tokenKey{1}, tokenKey{2}, tokenKey{3}
	long := &identity.Identity{Expires: now.Add(time.Hour)}
	short := &identity.Identity{Expires: now.Add(10 * time.Second)}
	c.put(a, long, now, 1)
	c.put(b, short, now, 1)
	for _, tc := range []struct {
		name  string
		key   tokenKey
		at    time.Duration
		epoch uint64
		want  *identity.Identity
	}{
		{"known", a, 59 * time.Second, 1, long},
		{"old", a, time.Minute, 1, nil},
		{"another epoch", a, 0, 2, nil},
		{"never past the token's own end", b, 10 * time.Second, 1, nil},
		{"unknown", d, 0, 1, nil},
	} {
		if got := c.get(tc.key, now.Add(tc.at), tc.epoch); got != tc.want {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
	c.put(d, long, now, 1)
	if c.get(a, now, 1) != nil || c.get(d, now, 1) == nil || len(c.entries) != 2 {
		t.Error("the oldest makes room")
	}
	off := newTokenCache(0, 100)
	off.put(a, long, now, 1)
	if off.get(a, now, 1) != nil {
		t.Error("a cache that is off remembers")
	}
}

// waiter is a context that counts who comes to wait by it.
type waiter struct {
	context.Context
	waiting *atomic.Int32
}

func (w waiter) Done() <-chan struct{} {
	w.waiting.Add(1)
	return w.Context.Done()
}

func TestSameTokenIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	c := newTokenCache(0, 0)
	var calls, waiting atomic.Int32
	release := make(chan struct{})
	var wg sync.WaitGroup
	const n = 20
	for range n {
		wg.Go(func() {
			id, _, err := c.share(waiter{context.Background(), &waiting}, "token", func() (*identity.Identity, error) {
				calls.Add(1)
				<-release
				return &identity.Identity{JTI: "x"}, nil
			})
			if err != nil || id.JTI != "x" {
				t.Errorf("got %v, %v", id, err)
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); waiting.Load() < n-1 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if calls.Load() != 1 || waiting.Load() != n-1 {
		t.Errorf("%d verifications, %d waited", calls.Load(), waiting.Load())
	}
}

func TestWhoWaitsTakesOver(t *testing.T) {
	t.Parallel()
	c := newTokenCache(0, 0)
	first, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, _, err := c.share(first, "token", func() (*identity.Identity, error) {
			close(started)
			<-first.Done()
			return nil, first.Err()
		})
		done <- err
	}()
	<-started
	second := make(chan error, 1)
	go func() {
		_, _, err := c.share(context.Background(), "token", func() (*identity.Identity, error) { return &identity.Identity{}, nil })
		second <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
}

type fixedName string

func (f fixedName) PrivateDNSName(context.Context, string) (string, error) {
	if f == "" {
		return "", reason.New(reason.TemplateUnfilled, "no name")
	}
	return string(f), nil
}

func TestRender(t *testing.T) {
	t.Parallel()
	arn, err := iam.ParseARN("arn:aws:sts::111122223333:assumed-role/Node/x")
	if err != nil {
		t.Fatal(err)
	}
	instance := "i-0c6f21bf1f24f9708"
	for _, tc := range []struct {
		name, username string
		groups         []string
		id             identity.Identity
		names          NodeNames
		code           reason.Code
		want           string
		wantGroups     []string
	}{
		{"node", "system:node:{{EC2PrivateDNSName}}", []string{"system:nodes"}, identity.Identity{InstanceID: instance}, fixedName("ip-172-31-27-14"), reason.OK, "system:node:ip-172-31-27-14", []string{"system:nodes"}},
		{"node without a name", "system:node:{{EC2PrivateDNSName}}", nil, identity.Identity{InstanceID: instance}, fixedName(""), reason.TemplateUnfilled, "", nil},
		{"no instance", "n:{{EC2PrivateDNSName}}", nil, identity.Identity{InstanceID: "i-aaaaa"}, fixedName("x"), reason.TemplateUnfilled, "", nil},
		{"nobody to ask", "n:{{EC2PrivateDNSName}}", nil, identity.Identity{InstanceID: instance}, nil, reason.TemplateUnfilled, "", nil},
		{"session", "u:{{SessionName}}", []string{"g:{{SessionNameRaw}}"}, identity.Identity{SessionName: "a@b"}, nil, reason.OK, "u:a-b", []string{"g:a@b"}},
		{"no second pass", "u:{{SessionName}}", nil, identity.Identity{SessionName: "{{AccessKeyID}}", AccessKeyID: "K"}, nil, reason.OK, "u:{{AccessKeyID}}", nil},
		{"no session", "u:{{SessionName}}", nil, identity.Identity{}, nil, reason.TemplateUnfilled, "", nil},
		{"no session for a group", "u", []string{"{{SessionName}}"}, identity.Identity{}, nil, reason.TemplateUnfilled, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := backend.NewStore([]string{mapping.BackendMountedFile}, backend.StoreOptions{Partition: "aws"})
			store.Set(mapping.BackendMountedFile, mapping.Mappings{Roles: []mapping.Entry{{ARN: "arn:aws:iam::111122223333:role/Node", Username: tc.username, Groups: tc.groups}}}, nil, "")
			d := NewDecider(DeciderOptions{Store: store, NodeNames: tc.names})
			match, err := store.Lookup(mapping.Principal{ARN: arn})
			if err != nil {
				t.Fatal(err)
			}
			tc.id.ARN = arn
			var dec Decision
			err = d.render(context.Background(), match, &tc.id, &dec)
			got := reason.OK
			if err != nil {
				got = reason.Of(err).Code
			}
			if got != tc.code || err == nil && (dec.Username != tc.want || !reflect.DeepEqual(dec.Groups, tc.wantGroups)) {
				t.Errorf("got %s %+v", got, dec)
			}
		})
	}
}

func TestOriginalsAnswer(t *testing.T) {
	t.Parallel()
	arn, err := iam.ParseARN("arn:aws:iam::012345678901:role/Test")
	if err != nil {
		t.Fatal(err)
	}
	dec := &Decision{Code: reason.OK, Token: metrics.TokenPresigned, Username: "TestUser", Groups: []string{"sys:admin", "listers"},
		Identity: &identity.Identity{ARN: arn, Canonical: arn.String(), UserID: "Test", SessionName: "TestSession", AccessKeyID: "ABCDEF"}}
	var got, want any
	if err := json.Unmarshal(appendReview(nil, apiV1, dec, false), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,"user":{
		"username":"TestUser","uid":"aws-iam-authenticator:012345678901:Test","groups":["sys:admin","listers"],"extra":{
		"arn":["arn:aws:iam::012345678901:role/Test"],"canonicalArn":["arn:aws:iam::012345678901:role/Test"],"sessionName":["TestSession"],
		"accessKeyId":["ABCDEF"],"principalId":["Test"],"sigs.k8s.io/aws-iam-authenticator/principalId":["Test"]}}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAPIServersReviewIsScanned(t *testing.T) {
	t.Parallel()
	r, ok := scanReview([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","metadata":{"creationTimestamp":null},"spec":{"token":"k8s-aws-v1.x","audiences":["https://kubernetes.default.svc"]},"status":{"user":{}}}` + "\n"))
	if !ok || r.Kind != kindReview || r.APIVersion != apiV1beta1 || r.Spec.Token != "k8s-aws-v1.x" {
		t.Errorf("got %+v, %v", r, ok)
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "plain", `quo"te`, `back\slash`, "new\nline", "ünï", "\x00", "\xff bad", "<&>"} {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Errorf("%q: %v", s, err)
		} else if want := string([]rune(s)); got != want {
			t.Errorf("%q has become %q", s, got)
		}
	}
}

// fakeConn is a connection that notes its end.
type fakeConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *fakeConn) Close() error { c.closed.Store(true); return nil }

func TestConnectionsWithoutARequestGoFirst(t *testing.T) {
	t.Parallel()
	idle := newIdleConns(2)
	served, first, second, third := &fakeConn{}, &fakeConn{}, &fakeConn{}, &fakeConn{}
	idle.state(served, http.StateNew)
	idle.state(served, http.StateActive)
	idle.state(served, http.StateIdle)
	for _, c := range []*fakeConn{first, second, third} {
		idle.state(c, http.StateNew)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !(first.closed.Load() && second.closed.Load()) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if served.closed.Load() || !first.closed.Load() || !second.closed.Load() || third.closed.Load() {
		t.Errorf("closed: %v %v %v %v", served.closed.Load(), first.closed.Load(), second.closed.Load(), third.closed.Load())
	}
}

func TestLongestIdleConnectionGoes(t *testing.T) {
	t.Parallel()
	idle := newIdleConns(2)
	conns := []*fakeConn{{}, {}, {}, {}}
	for _, c := range conns[:3] {
		idle.state(c, http.StateNew)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !conns[0].closed.Load() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	idle.state(conns[1], http.StateActive)
	idle.state(conns[3], http.StateNew)
	if !conns[0].closed.Load() || conns[1].closed.Load() || conns[2].closed.Load() || conns[3].closed.Load() {
		t.Errorf("closed: %v %v %v %v", conns[0].closed.Load(), conns[1].closed.Load(), conns[2].closed.Load(), conns[3].closed.Load())
	}
	idle.state(conns[1], http.StateClosed)
	if len(idle.where) != idle.order.Len() || idle.order.Len() != 2 {
		t.Errorf("%d and %d are kept", len(idle.where), idle.order.Len())
	}
}

func TestEveryReasonHasMetrics(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	for _, code := range reason.All() {
		m.Decided(code, metrics.TokenJWT)
		m.Authenticated(metrics.Result(code), time.Millisecond)
	}
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() == "aws_iam_authenticator_decisions_total" {
			for _, s := range f.GetMetric() {
				total += s.GetCounter().GetValue()
			}
		}
	}
	if int(total) != len(reason.All()) {
		t.Errorf("%v decisions counted of %d", total, len(reason.All()))
	}
}

func FuzzParseReview(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"k8s-aws-v1.x"}}`))
	f.Add([]byte(`{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview","spec":{"token":5}}`))
	f.Add([]byte(` {"kind" : "TokenReview", "apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":null,"x":[true,{"y":[]}]},"spec":{"token":"a","audiences":["x"]},"status":{"user":{}}} `))
	f.Add([]byte(`{"spec":{"token":"a","TOKEN":"b"},"spec":{"token":"c"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if fast, ok := scanReview(body); ok {
			var slow review
			if err := json.Unmarshal(body, &slow); err != nil || *fast != slow {
				t.Errorf("%q: read as %+v, and by encoding/json as %+v, %v", body, fast, slow, err)
			}
		}
		r, err := parseReview(body)
		if err != nil {
			return
		}
		dec := Decision{Code: reason.Malformed, Detail: r.Spec.Token}
		if out := appendReview(nil, r.APIVersion, &dec, false); !json.Valid(out) || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("answer %q", out)
		}
	})
}
