package ec2dns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

const (
	// renewEvery is how old credentials get, and renewLeast how often they are
	// renewed at most, if that succeeds.
	renewEvery = time.Hour
	renewLeast = time.Minute
	// retryFirst and retryMost bound the pauses between attempts that fail.
	retryFirst = time.Second
	retryMost  = time.Minute
	// renewWait bounds an attempt.
	renewWait = 30 * time.Second
	// roleLife is how long the assumed role's credentials are asked for: the
	// original's, and the most that a role may have which assumes another.
	roleLife = time.Hour
)

// access is what EC2 is asked with. It never changes.
type access struct {
	region, endpoint string
	creds            aws.Credentials
}

// Need says whether names will be asked for: whether Run is to have credentials
// ready. It does not wait.
func (r *Resolver) Need(needed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.needed == needed {
		return
	}
	r.needed = needed
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Problem says why EC2 cannot be asked, or will not be much longer. It is empty
// if it can be, or need not be.
func (r *Resolver) Problem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.needed:
		return ""
	case r.problem == "" && r.access == nil:
		return "region and credentials are being looked up"
	}
	return r.problem
}

// Run gets region and credentials as soon as names are needed, and keeps the
// credentials fresh while they are, until ctx ends: instance metadata, or a role
// to assume, may take their time, and no login is to wait for them.
func (r *Resolver) Run(ctx context.Context) {
	var due time.Time
	retry := retryFirst
	for {
		var timer <-chan time.Time
		r.mu.Lock()
		if r.needed {
			timer = time.After(time.Until(due))
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
			continue
		case <-timer:
		}
		with, err := r.newAccess(ctx)
		if ctx.Err() != nil {
			return
		}
		r.take(with, err)
		pause := retry
		if err == nil {
			pause, retry = renewIn(with.creds, r.opts.Now()), retryFirst
		} else {
			retry = min(2*retry, retryMost)
		}
		due = time.Now().Add(pause)
	}
}

// renewIn returns when to renew credentials: after half the time that they have
// left. Those that do not expire may be a file's, which is looked at again.
func renewIn(creds aws.Credentials, now time.Time) time.Duration {
	if !creds.CanExpire {
		return renewEvery
	}
	return max(renewLeast, min(renewEvery, creds.Expires.Sub(now)/2))
}

// take puts a new access in place, or notes why there is none. The old one
// stays until then, even past its end: EC2 has the last word on that.
func (r *Resolver) take(with *access, err error) {
	r.mu.Lock()
	first, before := r.access == nil, r.problem
	if err == nil {
		r.access, r.problem = with, ""
	} else {
		r.problem = err.Error()
	}
	problem := r.problem
	r.mu.Unlock()
	switch {
	case problem != "" && problem != before:
		r.opts.Log.Warn("EC2 cannot be asked for nodes' names", "error", problem, "haveCredentials", !first)
	case problem == "" && (first || before != ""):
		r.opts.Log.Info("EC2 can be asked for nodes' names", "region", with.region)
	}
}

// noAccess is the denial of a login that needs a name while there is nothing to
// ask with. It is called with the lock held.
func (r *Resolver) noAccess() error {
	if r.region == "" {
		return reason.New(reason.TemplateUnfilled, "{{EC2PrivateDNSName}}: the region to ask EC2 in is not known: set server.region or AWS_REGION; without, it is looked up in the instance metadata, and /readyz says what is in the way")
	}
	return reason.New(reason.EC2Unreachable, "{{EC2PrivateDNSName}}: the AWS credentials to ask EC2 with are not there yet: /readyz says what is in the way")
}

// newAccess gets region and credentials anew, from the AWS SDK's standard chain.
// Its errors hold no secret.
func (r *Resolver) newAccess(ctx context.Context) (*access, error) {
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	r.mu.Lock()
	region := r.region
	r.mu.Unlock()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithHTTPClient(r.client.aws()),
		config.WithCredentialsProvider(r.opts.Credentials), config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %s", plain(err))
	}
	if cfg.Region == "" {
		out, err := imds.NewFromConfig(cfg).GetRegion(ctx, nil)
		if err != nil {
			return nil, fmt.Errorf("no region: set server.region or AWS_REGION; the instance metadata do not tell it: %s", plain(err))
		}
		cfg.Region = out.Region
	}
	if _, err := iam.NewHostSet(r.opts.Partition, cfg.Region); err != nil {
		return nil, fmt.Errorf("%w: set server.region or AWS_REGION", err)
	}
	r.mu.Lock()
	r.region = cfg.Region
	r.mu.Unlock()
	provider := cfg.Credentials
	if r.opts.RoleARN != "" {
		provider = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg, r.client.sourceHeaders), r.opts.RoleARN,
			func(o *stscreds.AssumeRoleOptions) { o.Duration = roleLife })
	}
	creds, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("no AWS credentials: %s", plain(err))
	}
	endpoint := r.opts.Endpoint
	if endpoint == "" {
		endpoint = "https://ec2." + cfg.Region + "." + r.opts.Partition.DNSSuffix
	}
	return &access{region: cfg.Region, endpoint: endpoint, creds: creds}, nil
}

// aws returns an HTTP client for the SDK, which gives instance metadata shorter
// time limits. Plain HTTP is metadata's alone: credentials never go through a
// proxy in it. It keeps no connection from one renewal to the next.
func (c *client) aws() aws.HTTPClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		proxy := c.transport.Proxy
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if req.URL.Scheme == "http" {
				return nil, nil // none
			}
			return proxy(req)
		}
		if c.opts.Network.Dial != nil {
			t.DialContext = c.opts.Network.Dial
		}
		if c.opts.Network.TLS != nil {
			t.TLSClientConfig = c.opts.Network.TLS.Clone()
		}
		t.DisableKeepAlives = true
	})
}

// sourceHeaders adds what lets the role's trust policy name the source, as the
// original does
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html).
func (c *client) sourceHeaders(o *sts.Options) {
	if c.opts.SourceARN == "" {
		return
	}
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-amz-source-arn", c.opts.SourceARN))
	// arn:partition:service:region:account:resource
	if fields := strings.SplitN(c.opts.SourceARN, ":", 6); len(fields) == 6 && iam.IsAccountID(fields[4]) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-amz-source-account", fields[4]))
	}
}

// plain is the text of the SDK's error. Of what AWS answered it has no more than
// the code, except where the message says who lacks which permission: others may
// quote what was signed.
func plain(err error) string {
	var answer smithy.APIError
	switch {
	case !errors.As(err, &answer):
		return err.Error()
	case answer.ErrorCode() == "AccessDenied":
		return answer.ErrorCode() + ": " + answer.ErrorMessage()
	}
	return "AWS answered " + answer.ErrorCode()
}
