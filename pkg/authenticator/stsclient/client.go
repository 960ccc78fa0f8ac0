package stsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

const (
	// maxBody is much more than an answer or an error from STS ever has.
	maxBody = 64 << 10
	// maxWait bounds a call whose own context is more patient, or has no
	// deadline. It is the original's limit.
	maxWait = 10 * time.Second
	// maxConns bounds the connections to one endpoint, open or being opened.
	// Calls beyond it wait for one, so a flood of bogus tokens cannot use up
	// ports, memory or STS's patience.
	maxConns = 256
)

var errTooLarge = errors.New("answer is too large")

// Options say how STS is called.
type Options struct {
	// ClusterID is sent in the signed header x-k8s-aws-id, so that a token
	// made for another cluster has a wrong signature here.
	ClusterID string
	// Partition is the only one whose principals are accepted.
	Partition string
	// Endpoint is an https URL that calls go to instead of the token's host,
	// a VPC endpoint say; mostly empty.
	Endpoint string
	Network  outbound.Network
	// Observe is called after each call with the endpoint's region ("global"
	// for the one without), the HTTP status (0: no answer) and the time it
	// took. It may be nil.
	Observe func(region string, status int, took time.Duration)
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Client calls STS. It is safe for concurrent use; Close frees its
// connections.
type Client struct {
	opts      Options
	endpoint  *url.URL
	transport *http.Transport
	gate      *gate
}

// New returns a client. The proxy environment (HTTPS_PROXY, NO_PROXY) is
// respected.
func New(opts Options) (*Client, error) {
	c := &Client{opts: opts, gate: newGate()}
	if opts.Now == nil {
		c.opts.Now = time.Now
	}
	if opts.Observe == nil {
		c.opts.Observe = func(string, int, time.Duration) {}
	}
	if opts.Endpoint != "" {
		u, err := url.Parse(opts.Endpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("STS endpoint %q: want an https URL", opts.Endpoint)
		}
		c.endpoint = u
	}
	// Go's default of two idle connections a host means a handshake for most
	// calls under load.
	c.transport = opts.Network.Transport(maxConns)
	return c, nil
}

// RegionLabel is what an endpoint's region is called in metrics: "global" for
// the endpoint that has none.
func RegionLabel(host iam.STSHost) string {
	if host.Region == "" {
		return "global"
	}
	return host.Region
}

// Close frees idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Identify sends the presigned request and returns who STS says signed it.
// Errors are *reason.Denial.
func (c *Client) Identify(ctx context.Context, tok presigned.Token) (identity.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	region := RegionLabel(tok.Host)
	start := c.opts.Now()
	end, ok := c.gate.enter(c.dials(tok), start)
	if !ok {
		return identity.Identity{}, reason.New(reason.Overloaded, "too many calls to "+tok.Host.Name+" wait for an answer")
	}
	status, body, err := c.get(ctx, tok)
	now := c.opts.Now()
	end(now, status != 0)
	c.opts.Observe(region, status, now.Sub(start))
	if err != nil {
		return identity.Identity{}, unreachable(ctx, tok.Host.Name, err)
	}
	if status != http.StatusOK {
		return identity.Identity{}, refusal(tok.Host.Name, status, body)
	}
	id, err := readIdentity(body, c.opts.Partition)
	if err != nil {
		return identity.Identity{}, reason.Wrap(reason.STSBadAnswer, tok.Host.Name+" answered 200 with something that is no identity: "+err.Error(), err)
	}
	id.AccessKeyID, id.Expires = tok.AccessKeyID, tok.Expires
	return id, nil
}

// dials returns the host that is called for a token.
func (c *Client) dials(tok presigned.Token) string {
	if c.endpoint != nil {
		return c.endpoint.Host
	}
	return tok.Host.Name
}

// get makes the call. The request is put together from checked parts; nothing
// of the token's text is passed on unread.
func (c *Client) get(ctx context.Context, tok presigned.Token) (status int, body []byte, err error) {
	u := &url.URL{Scheme: "https", Host: c.dials(tok), Path: "/", RawQuery: tok.Query}
	req := (&http.Request{
		Method: http.MethodGet, URL: u, Host: tok.Host.Name,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"X-K8s-Aws-Id": {c.opts.ClusterID},
			"Accept":       {"application/json"},
		},
	}).WithContext(ctx)
	// The transport itself, not an http.Client: no redirects, no cookies.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = readAll(resp)
	if err != nil {
		return resp.StatusCode, nil, err
	}
	return resp.StatusCode, body, nil
}

func readAll(resp *http.Response) ([]byte, error) {
	size := resp.ContentLength
	if size > maxBody {
		return nil, errTooLarge
	}
	if size < 0 {
		size = 1024
	}
	b := make([]byte, 0, size+1)
	for {
		n, err := resp.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if len(b) > maxBody {
			return nil, errTooLarge
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// unreachable makes a denial of a failed call. Only errors of known kinds are
// quoted: the text of others may hold what the proxy environment holds.
func unreachable(ctx context.Context, host string, err error) error {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
	)
	detail := "no answer from " + host
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		detail += ": the API server did not wait"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		detail += " in time"
	case errors.As(err, &cert):
		detail += ": its certificate is not trusted: " + cert.Err.Error()
	case errors.As(err, &dns):
		detail += ": its name cannot be resolved"
	case errors.As(err, &op) && op.Err != nil:
		detail += ": " + op.Op + ": " + op.Err.Error()
	case errors.Is(err, errTooLarge):
		detail = host + " sent too large an answer"
	default:
		detail += ": the connection failed"
	}
	return reason.Wrap(reason.STSUnreachable, detail, err)
}
