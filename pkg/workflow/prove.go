package workflow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/token"
)

const (
	// proveTimeout is how long a login may take to come out as it should: time
	// for the authenticator to start and to see the mappings.
	proveTimeout = 30 * time.Second
	// mostLogins bounds how many identities are logged in as after one
	// command.
	mostLogins = 40
	// loginsAtOnce is as much as two cores are kept busy with.
	loginsAtOnce = 4
)

// Login is one login that a command tried, and how it came out.
type Login struct {
	// Profile is the AWS profile, and ARN the principal behind it.
	Profile string          `json:"profile"`
	ARN     string          `json:"arn"`
	Token   login.TokenKind `json:"token"`
	// Refused is true for an identity that is not let in, as it should be.
	Refused  bool     `json:"refused"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	// May says what RBAC lets the user do.
	May string `json:"may,omitempty"`
}

// attempt is a login to try.
type attempt struct {
	profile string
	arn     iam.ARN
	session string
	kind    login.TokenKind
}

// prove logs in as the identities with every kind of token the cluster takes,
// until each comes out as the table says, and returns how. An identity in the
// table must get the username and groups it is mapped to; any other must be
// refused.
func (c *localCluster) prove(ctx context.Context, table mapping.Mappings, attempts []attempt) ([]Login, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, proveTimeout, context.DeadlineExceeded)
	defer cancel()
	caPEM, err := os.ReadFile(c.layout.PKI("ca.crt"))
	if err != nil {
		return nil, err
	}
	cluster := login.Cluster{Server: c.record.APIServerURL(), CAPEM: caPEM}
	client, err := stsClient(c.layout, c.record)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	index, _ := mapping.NewIndex([]mapping.Source{{Mappings: table}}, mapping.IndexOptions{Partition: c.record.Partition})
	keys := make(map[string]local.Credentials, len(c.credentials)+len(c.removed))
	for _, k := range slices.Concat(c.credentials, c.removed) {
		keys[k.Profile] = k
	}
	logins := make([]Login, len(attempts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loginsAtOnce)
	for i, a := range attempts {
		group.Go(func() error {
			k := keys[a.profile]
			options := token.Options{
				ClusterID: c.record.ClusterID,
				Region:    c.record.Region,
				Audience:  c.spec.IAM.Spec.TokenAudience(c.record.ClusterID),
				// The user's own AWS settings have nothing to do with it.
				IgnoreEnvironment: true,
				Credentials:       aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)),
				HTTPClient:        client,
			}
			want := expected(index, a, k.AccessKeyID)
			result, asWanted, err := cluster.Until(ctx, a.kind, options, want.is)
			if err != nil {
				return fmt.Errorf("log in as profile %s with a %s token: %w", a.profile, a.kind, err)
			}
			if !asWanted {
				return wrongLogin(a, want, result)
			}
			logins[i] = Login{
				Profile: a.profile, ARN: a.arn.String(), Token: a.kind, Refused: result.Refused,
				Username: result.Username, Groups: result.Groups, May: result.May,
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("%w%s", err, c.layout.LogTail("authenticator"))
	}
	return logins, nil
}

// attempts are the logins for the identities and the stranger, with each kind of
// token the cluster takes.
func (c *localCluster) attempts() []attempt {
	ids := c.identities
	if len(ids) > mostLogins {
		c.m.progress().Note("logging in as %d of the %d identities", mostLogins, len(ids))
		ids = ids[:mostLogins]
	}
	var all []attempt
	for _, kind := range c.tokenKinds() {
		for _, id := range ids {
			all = append(all, attempt{profile: id.Name, arn: id.ARN, session: id.Session, kind: kind})
		}
	}
	for _, kind := range c.tokenKinds() {
		all = append(all, attempt{profile: StrangerProfile, arn: c.stranger(), kind: kind})
	}
	return all
}

func (w *workload) tokenKinds() []login.TokenKind {
	var kinds []login.TokenKind
	if w.spec.IAM.Spec.TakesPresigned() {
		kinds = append(kinds, login.Presigned)
	}
	if w.spec.IAM.Spec.TakesJWT() {
		kinds = append(kinds, login.JWT)
	}
	return kinds
}

// outcome is how a login should come out. Without a username it should be
// refused.
type outcome struct {
	username string
	// groups are sorted, each there once.
	groups []string
}

func newOutcome(username string, groups []string) outcome {
	// Everybody who logs in is in this group, and a Result leaves it out.
	groups = slices.DeleteFunc(slices.Sorted(slices.Values(groups)), func(g string) bool { return g == "system:authenticated" })
	return outcome{username: username, groups: slices.Compact(groups)}
}

func (o outcome) is(r *login.Result) bool {
	got := newOutcome(r.Username, r.Groups)
	return r.Refused == (o.username == "") && got.username == o.username && slices.Equal(got.groups, o.groups)
}

func (o outcome) String() string {
	return fmt.Sprintf("%q with groups %q", o.username, o.groups)
}

// expected is how a login should come out. It should be refused if the
// principal is not in the table, or a template asks for what the token does not
// say.
func expected(index *mapping.Index, a attempt, accessKeyID string) outcome {
	match, ok := index.Lookup(a.arn)
	if !ok {
		return outcome{}
	}
	if match.AccountFallback {
		return newOutcome(a.arn.Principal().StripRolePath().String(), nil)
	}
	values := mapping.Values{AccountID: a.arn.Account}
	if a.kind == login.Presigned {
		values.AccessKeyID = accessKeyID
		values.SessionName = a.session
	}
	groups := make([]string, len(match.Groups))
	for i, group := range match.Groups {
		var err error
		if groups[i], err = group.Render(values.Value); err != nil {
			return outcome{}
		}
	}
	name, err := match.Username.Render(values.Value)
	if err != nil {
		return outcome{}
	}
	return newOutcome(name, groups)
}

// errWrongLogin is wrapped by an error that says that a login came out otherwise
// than it should have.
var errWrongLogin = errors.New("a login came out wrong")

func wrongLogin(a attempt, want outcome, got *login.Result) error {
	return wrongLoginError{explainWrong(a, want, got)}
}

// wrongLoginError is errWrongLogin, in words of its own.
type wrongLoginError struct{ error }

func (wrongLoginError) Is(target error) bool { return target == errWrongLogin }

func explainWrong(a attempt, want outcome, got *login.Result) error {
	who := fmt.Sprintf("profile %s (%s) with a %s token", a.profile, a.arn, a.kind)
	switch {
	case got == nil:
		return fmt.Errorf("log in as %s: no answer within %s", who, proveTimeout)
	case want.username == "":
		return fmt.Errorf("log in as %s: it is mapped to nobody and still got in as %q", who, got.Username)
	case got.Refused:
		return fmt.Errorf("log in as %s: refused, although it is mapped to %s", who, want)
	default:
		return fmt.Errorf("log in as %s: got in as %s, although it is mapped to %s", who, newOutcome(got.Username, got.Groups), want)
	}
}

// stsClient is an HTTP client that finds the cluster's simulated STS where
// AWS's would be.
func stsClient(l local.Layout, record *local.Record) (*http.Client, error) {
	caPEM, err := os.ReadFile(l.STSCA())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("no certificate in " + l.STSCA())
	}
	proxy, err := url.Parse(record.STSProxyURL())
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy:             http.ProxyURL(proxy),
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
		},
	}, nil
}
