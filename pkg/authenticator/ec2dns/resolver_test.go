package ec2dns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

// ec2 is a server that answers DescribeInstances.
type ec2 struct {
	mu     sync.Mutex
	names  map[string]string
	status int
	calls  [][]string
	auth   string
	hold   chan struct{}
}

func (e *ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	e.mu.Lock()
	var ids []string
	for i := 1; r.Form.Get(fmt.Sprintf("Filter.1.Value.%d", i)) != ""; i++ {
		ids = append(ids, r.Form.Get(fmt.Sprintf("Filter.1.Value.%d", i)))
	}
	e.calls = append(e.calls, ids)
	e.auth = r.Header.Get("Authorization")
	hold, status := e.hold, e.status
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>`)
	for _, id := range ids {
		if n, ok := e.names[id]; ok {
			fmt.Fprintf(&b, "<item><instancesSet><item><instanceId>%s</instanceId><privateDnsName>%s</privateDnsName></item></instancesSet></item>", id, n)
		}
	}
	b.WriteString(`</reservationSet></DescribeInstancesResponse>`)
	e.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if status != 0 {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>`))
		return
	}
	_, _ = w.Write([]byte(b.String()))
}

func newResolver(t *testing.T, e *ec2) *Resolver {
	t.Helper()
	srv := httptest.NewTLSServer(e)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	p, _ := iam.LookupPartition("aws")
	r := New(Options{
		Region: "eu-central-1", Partition: p, QPS: 100, Burst: 100, Endpoint: srv.URL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Network:     outbound.Network{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	})
	t.Cleanup(r.Close)
	run(t, r)
	eventually(t, "access", func() bool { return r.Problem() == "" })
	return r
}

// run keeps the resolver's access until the test's end.
func run(t *testing.T, r *Resolver) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { cancel(); owned.Wait() })
	r.Need(true)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

func code(err error) reason.Code {
	var d *reason.Denial
	if errors.As(err, &d) {
		return d.Code
	}
	return reason.OK
}

func TestLookup(t *testing.T) {
	t.Parallel()
	e := &ec2{names: map[string]string{"i-0c6f21bf1f24f9708": "ip-172-31-27-14.ec2.internal", "i-00000000": ""}}
	r := newResolver(t, e)
	ctx := context.Background()
	for range 3 {
		got, err := r.PrivateDNSName(ctx, "i-0c6f21bf1f24f9708")
		if err != nil || got != "ip-172-31-27-14.ec2.internal" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if len(e.calls) != 1 {
		t.Errorf("%d calls for one name", len(e.calls))
	}
	if !strings.Contains(e.auth, "/eu-central-1/ec2/aws4_request") {
		t.Errorf("signed as %q", e.auth)
	}
	// An empty name is no name; and a miss is looked up again.
	for _, id := range []string{"i-00000000", "i-11111111"} {
		if got, err := r.PrivateDNSName(ctx, id); code(err) != reason.TemplateUnfilled || got != "" {
			t.Errorf("%s: got %q, %v", id, got, err)
		}
	}
	e.mu.Lock()
	e.names["i-11111111"] = "late"
	e.mu.Unlock()
	if got, err := r.PrivateDNSName(ctx, "i-11111111"); err != nil || got != "late" {
		t.Errorf("got %q, %v", got, err)
	}
	e.mu.Lock()
	e.status = 503
	e.mu.Unlock()
	if _, err := r.PrivateDNSName(ctx, "i-22222222"); code(err) != reason.EC2Unreachable {
		t.Errorf("got %v", err)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	e := &ec2{names: map[string]string{}, hold: make(chan struct{})}
	for i := range 150 {
		e.names[fmt.Sprintf("i-%08d", i)] = fmt.Sprintf("name-%d", i)
	}
	r := newResolver(t, e)
	var wg sync.WaitGroup
	for i := range 150 {
		wg.Go(func() {
			if got, err := r.PrivateDNSName(context.Background(), fmt.Sprintf("i-%08d", i)); err != nil || got != fmt.Sprintf("name-%d", i) {
				t.Errorf("%d: got %q, %v", i, got, err)
			}
		})
	}
	close(e.hold)
	wg.Wait()
	if len(e.calls) > 20 {
		t.Errorf("%d calls for 150 instances", len(e.calls))
	}
}

func TestCallerThatGoesAway(t *testing.T) {
	t.Parallel()
	e := &ec2{names: map[string]string{"i-00000000": "n"}, hold: make(chan struct{})}
	r := newResolver(t, e)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.PrivateDNSName(ctx, "i-00000000"); code(err) != reason.EC2Unreachable {
		t.Errorf("got %v", err)
	}
	close(e.hold)
	if got, err := r.PrivateDNSName(context.Background(), "i-00000000"); err != nil || got != "n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzParseInstances(f *testing.F) {
	f.Add([]byte(`<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i</instanceId><privateDnsName>n</privateDnsName></item></instancesSet></item></reservationSet></DescribeInstancesResponse>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseInstances(data)
		if err != nil {
			return
		}
		for _, n := range names {
			if n == "" {
				t.Error("an empty name")
			}
		}
	})
}

// TestSilentEC2KeepsFewWaiting has EC2 hang: who waits for it is few enough to
// leave the others room.
func TestSilentEC2KeepsFewWaiting(t *testing.T) {
	t.Parallel()
	e := &ec2{names: map[string]string{"i-00000000": "n"}}
	r := newResolver(t, e)
	if _, err := r.PrivateDNSName(t.Context(), "i-00000000"); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.hold = make(chan struct{})
	e.mu.Unlock()
	defer close(e.hold)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan reason.Code, maxAsking+1)
	for n := range maxAsking + 1 {
		go func() {
			_, err := r.PrivateDNSName(ctx, fmt.Sprintf("i-%08x", n+1))
			ended <- reason.Of(err).Code
		}()
	}
	if got := <-ended; got != reason.Overloaded {
		t.Errorf("one too many: %s", got)
	}
	if got, err := r.PrivateDNSName(t.Context(), "i-00000000"); got != "n" {
		t.Errorf("one that is known: %v", err)
	}
	cancel()
	for range maxAsking {
		if got := <-ended; got != reason.EC2Unreachable {
			t.Errorf("got %s", got)
		}
	}
}

func TestCallsAreRationed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	r := New(Options{QPS: 2, Burst: 3, Now: func() time.Time { return now }})
	defer r.Close()
	for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond, time.Second} {
		if got := r.delay(); got != want {
			t.Errorf("call %d waits %s, want %s", i, got, want)
		}
	}
	now = now.Add(time.Hour) // what is not used does not pile up
	for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond} {
		if got := r.delay(); got != want {
			t.Errorf("after a pause, call %d waits %s, want %s", i, got, want)
		}
	}
}
