package ec2dns

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
)

const (
	instance = "i-0c6f21bf1f24f9708"
	dnsName  = "ip-172-31-27-14.eu-central-1.compute.internal"
	roleARN  = "arn:aws:iam::111122223333:role/DescribeInstances"
	baseARN  = "arn:aws:iam::111122223333:role/ControlPlane"
)

// amazon is EC2 and STS on one TLS server, and instance metadata on a server of
// their own. Nothing else can be reached.
type amazon struct {
	t     *testing.T
	state *stssim.State
	sts   *stssim.Server
	ec2   *ec2
	base  *stssim.Credentials // what metadata give to the instance

	network  outbound.Network
	metadata string // URL

	mu       sync.Mutex
	asked    int         // requests for metadata
	silent   bool        // metadata answer 503
	assume   http.Header // of the last AssumeRole
	describe *http.Request
	body     string // of the same
}

func newAmazon(t *testing.T) *amazon {
	t.Helper()
	state, err := stssim.NewState(stssim.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := &amazon{t: t, state: state, sts: stssim.New(state, stssim.Options{}), ec2: &ec2{names: map[string]string{instance: dnsName}}}
	a.base = a.ensure(baseARN)
	a.ensure(roleARN)
	srv := httptest.NewTLSServer(a)
	t.Cleanup(srv.Close)
	metadata := httptest.NewServer(http.HandlerFunc(a.serveMetadata))
	t.Cleanup(metadata.Close)
	a.metadata = metadata.URL
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	a.network = outbound.Network{
		TLS: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != metadata.Listener.Addr().String() {
				address = srv.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	return a
}

func (a *amazon) ensure(arn string) *stssim.Credentials {
	a.t.Helper()
	parsed, err := iam.ParseARN(arn)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.state.Ensure(stssim.Identity{Profile: arn, ARN: parsed, Session: "session"})
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != "ec2.eu-central-1.amazonaws.com" {
		a.mu.Lock()
		a.assume = r.Header.Clone()
		a.mu.Unlock()
		a.sts.ServeHTTP(w, r) // which checks the signature
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	a.mu.Lock()
	a.describe, a.body = r.Clone(context.Background()), string(body)
	a.mu.Unlock()
	a.ec2.ServeHTTP(w, r)
}

// serveMetadata is version 2 of EC2's instance metadata service.
func (a *amazon) serveMetadata(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked++
	silent := a.silent
	a.mu.Unlock()
	const token = "metadata-token"
	switch {
	case silent:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, token)
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/latest/dynamic/instance-identity/document":
		_, _ = io.WriteString(w, `{"region":"eu-central-1"}`)
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		_, _ = io.WriteString(w, "ControlPlane")
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/ControlPlane":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"Code": "Success", "AccessKeyId": a.base.AccessKeyID, "SecretAccessKey": a.base.SecretAccessKey,
			"Token": a.base.SessionToken, "Expiration": time.Now().Add(6 * time.Hour).UTC(),
		})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// start runs a resolver that names are needed of.
func (a *amazon) start(edit func(*Options)) *Resolver {
	a.t.Helper()
	p, _ := iam.LookupPartition("aws")
	opts := Options{Partition: p, QPS: 100, Burst: 100, Network: a.network}
	if edit != nil {
		edit(&opts)
	}
	r := New(opts)
	a.t.Cleanup(r.Close)
	run(a.t, r)
	return r
}

// checkSignature signs the last DescribeInstances again and compares.
func (a *amazon) checkSignature(creds aws.Credentials) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	at, err := time.Parse("20060102T150405Z", a.describe.Header.Get("X-Amz-Date"))
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "https://"+a.describe.Host+"/", strings.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", a.describe.Header.Get("Content-Type"))
	sum := sha256.Sum256([]byte(a.body))
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(sum[:]), "ec2", "eu-central-1", at); err != nil {
		a.t.Fatal(err)
	}
	if got, want := a.describe.Header.Get("Authorization"), req.Header.Get("Authorization"); got != want {
		a.t.Errorf("signed %s, want %s", got, want)
	}
	if got := a.describe.Header.Get("X-Amz-Security-Token"); got != creds.SessionToken {
		a.t.Error("not with these credentials' session token")
	}
}

// lookUp asks for the instance's name as soon as that can be done.
func lookUp(t *testing.T, r *Resolver) {
	t.Helper()
	eventually(t, "access", func() bool { return r.Problem() == "" })
	if got, err := r.PrivateDNSName(context.Background(), instance); err != nil || got != dnsName {
		t.Errorf("got %q, %v", got, err)
	}
}

func sdk(c *stssim.Credentials) aws.Credentials {
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

// Those that set the environment are not parallel.

func TestCredentialsOfTheEnvironment(t *testing.T) {
	a := newAmazon(t)
	t.Setenv("AWS_ACCESS_KEY_ID", a.base.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", a.base.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", a.base.SessionToken)
	lookUp(t, a.start(func(o *Options) { o.Region = "eu-central-1" }))
	a.checkSignature(sdk(a.base))
}

func TestRegionAndRoleOfTheInstance(t *testing.T) {
	a := newAmazon(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", a.metadata)
	// A proxy is for what leaves the machine.
	a.network.Proxy = func(req *http.Request) (*url.URL, error) {
		if strings.HasPrefix(a.metadata, req.URL.Scheme+"://"+req.URL.Host) {
			t.Error("metadata asked through the proxy")
		}
		return nil, nil
	}
	r := a.start(nil)
	lookUp(t, r)
	a.checkSignature(sdk(a.base))
	// No login asks metadata.
	a.mu.Lock()
	a.silent = true
	before := a.asked
	a.mu.Unlock()
	if _, err := r.PrivateDNSName(context.Background(), "i-11111111"); code(err) != reason.TemplateUnfilled {
		t.Errorf("got %v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked != before {
		t.Errorf("%d requests for metadata in a login", a.asked-before)
	}
}

func TestMetadataSwitchedOff(t *testing.T) {
	a := newAmazon(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", a.metadata)
	for region, want := range map[string]struct {
		code         reason.Code
		detail, says string
	}{
		"":             {reason.TemplateUnfilled, "set server.region or AWS_REGION", "no region: set server.region or AWS_REGION"},
		"eu-central-1": {reason.EC2Unreachable, "credentials", "no AWS credentials: "},
	} {
		r := a.start(func(o *Options) { o.Region = region })
		eventually(t, "attempt", func() bool { return strings.Contains(r.Problem(), want.says) })
		if !strings.Contains(r.Problem(), "AWS_EC2_METADATA_DISABLED") {
			t.Errorf("%q: %s", region, r.Problem())
		}
		_, err := r.PrivateDNSName(context.Background(), instance)
		if code(err) != want.code || !strings.Contains(err.Error(), want.detail) {
			t.Errorf("%q: got %v", region, err)
		}
	}
	if a.asked != 0 {
		t.Errorf("%d requests for metadata", a.asked)
	}
}

func TestRegionOfAnotherPartition(t *testing.T) {
	a := newAmazon(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", a.metadata)
	r := a.start(func(o *Options) { o.Partition, _ = iam.LookupPartition("aws-us-gov") })
	eventually(t, "attempt", func() bool { return strings.Contains(r.Problem(), "belongs to partition aws") })
}

func TestAssumedRole(t *testing.T) {
	t.Parallel()
	for source, account := range map[string]string{
		"": "",
		"arn:aws:eks:eu-central-1:444455556666:cluster/x": "444455556666",
		"arn:aws:s3:::bucket":                             "",
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			a := newAmazon(t)
			lookUp(t, a.start(func(o *Options) {
				o.Region, o.RoleARN, o.SourceARN = "eu-central-1", roleARN, source
				o.Credentials = credentials.NewStaticCredentialsProvider(a.base.AccessKeyID, a.base.SecretAccessKey, a.base.SessionToken)
			}))
			a.mu.Lock()
			defer a.mu.Unlock()
			// The simulated STS takes no AWS header that is not signed.
			if got := a.assume.Get("X-Amz-Source-Arn"); got != source {
				t.Errorf("source %q", got)
			}
			if got := a.assume.Get("X-Amz-Source-Account"); got != account {
				t.Errorf("source's account %q", got)
			}
			if auth := a.describe.Header.Get("Authorization"); strings.Contains(auth, a.base.AccessKeyID) || !strings.Contains(auth, "/eu-central-1/ec2/aws4_request") {
				t.Errorf("EC2 not asked as the role: %s", auth)
			}
		})
	}
}

func TestRoleRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ role, secret, want string }{
		"no such role": {"arn:aws:iam::111122223333:role/Nobody", "", "AccessDenied: User: "},
		"wrong secret": {roleARN, "wrong", "AWS answered SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAmazon(t)
			secret := a.base.SecretAccessKey
			if tc.secret != "" {
				secret = tc.secret
			}
			r := a.start(func(o *Options) {
				o.Region, o.RoleARN = "eu-central-1", tc.role
				o.Credentials = credentials.NewStaticCredentialsProvider(a.base.AccessKeyID, secret, a.base.SessionToken)
			})
			eventually(t, "attempt", func() bool { return strings.Contains(r.Problem(), "no AWS credentials: "+tc.want) })
			if _, err := r.PrivateDNSName(context.Background(), instance); code(err) != reason.EC2Unreachable {
				t.Errorf("got %v", err)
			}
		})
	}
}

// slowProvider is a credentials provider by the test's clock.
type slowProvider struct {
	mu    sync.Mutex
	calls []time.Duration // since the start
	start time.Time
	life  time.Duration
	fail  bool
}

func (p *slowProvider) Retrieve(context.Context) (aws.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, time.Since(p.start))
	if p.fail {
		return aws.Credentials{}, errors.New("not now")
	}
	return aws.Credentials{
		AccessKeyID: fmt.Sprintf("AKID%d", len(p.calls)), SecretAccessKey: "secret",
		CanExpire: p.life > 0, Expires: time.Now().Add(p.life),
	}, nil
}

func (p *slowProvider) set(fail bool) { p.mu.Lock(); defer p.mu.Unlock(); p.fail = fail }

func TestRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &slowProvider{start: time.Now(), life: time.Hour, fail: true}
		partition, _ := iam.LookupPartition("aws")
		r := New(Options{Region: "eu-central-1", Partition: partition, Credentials: p})
		t.Cleanup(r.Close)
		ctx, cancel := context.WithCancel(context.Background())
		var owned sync.WaitGroup
		owned.Go(func() { r.Run(ctx) })
		defer func() { cancel(); owned.Wait() }()
		key := func() string {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.access == nil {
				return ""
			}
			return r.access.creds.AccessKeyID
		}
		expect := func(what, wantKey string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			got := fmt.Sprint(p.calls)
			p.mu.Unlock()
			if got != fmt.Sprint(want) || key() != wantKey {
				t.Errorf("%s: asked at %v with key %q, want %v and %q", what, got, key(), want, wantKey)
			}
		}
		sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		const s, m, h = time.Second, time.Minute, time.Hour

		sleep(h)
		expect("not needed", "")
		r.Need(true)
		sleep(4 * s)
		expect("failing", "", h, h+s, h+3*s)
		// Switching to and fro makes no attempt more.
		for range 10 {
			r.Need(false)
			synctest.Wait()
			r.Need(true)
			synctest.Wait()
		}
		p.set(false)
		sleep(6 * s)
		expect("mended", "AKID4", h, h+s, h+3*s, h+7*s)
		sleep(30 * m)
		expect("half its life later", "AKID5", h, h+s, h+3*s, h+7*s, h+30*m+7*s)
		p.set(true)
		sleep(30 * m)
		if key() != "AKID5" {
			t.Errorf("the old credentials are gone before there are new ones: %q", key())
		}
		if r.Problem() == "" {
			t.Error("nothing says that they are not renewed")
		}
		r.Need(false)
		synctest.Wait()
		p.mu.Lock()
		calls := len(p.calls)
		p.mu.Unlock()
		sleep(h)
		if len(p.calls) != calls || r.Problem() != "" {
			t.Errorf("%d attempts though nothing is needed", len(p.calls)-calls)
		}
	})
}

func TestRenewIn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for life, want := range map[time.Duration]time.Duration{
		0:                renewEvery, // for ever
		-time.Minute:     renewLeast,
		time.Second:      renewLeast,
		15 * time.Minute: 15 * time.Minute / 2,
		time.Hour:        30 * time.Minute,
		12 * time.Hour:   renewEvery,
	} {
		if got := renewIn(aws.Credentials{CanExpire: life != 0, Expires: now.Add(life)}, now); got != want {
			t.Errorf("%s: got %s, want %s", life, got, want)
		}
	}
}
