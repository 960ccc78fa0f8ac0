package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/token"
)

// Token makes a new token of a profile for a cluster, as the client does.
func (s *STS) Token(ctx context.Context, profile, clusterID string) (string, error) {
	c, err := s.credentials(profile)
	if err != nil {
		return "", err
	}
	t, err := token.Presign(ctx, token.Options{
		ClusterID: clusterID, Region: Region, IgnoreEnvironment: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
	return t.Value, err
}

// Login logs in to a cluster as a profile with a new token, over a connection of
// its own, and returns whom the API server takes it for. A refusal is an error
// of Kubernetes' API, "Unauthorized".
func (e *Environment) Login(ctx context.Context, cluster *rest.Config, profile, clusterID string) (*authenticationv1.UserInfo, error) {
	value, err := e.STS.Token(ctx, profile, clusterID)
	if err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(cluster)
	config.BearerToken = value
	transport, err := fresh(config)
	if err != nil {
		return nil, err
	}
	config = &rest.Config{Host: config.Host, Transport: transport, BearerToken: value, QPS: -1}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return &review.Status.UserInfo, nil
}

// fresh is a transport whose every request has a connection of its own, as that
// of a command line has.
func fresh(config *rest.Config) (*http.Transport, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	return &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}, nil
}

// Prober logs in over and over, each time with a new token and a new connection,
// and asks the API endpoint for its readiness before and after each login, with
// a client certificate.
type Prober struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	report Report
}

// Report is what a Prober has seen.
type Report struct {
	// Logins is how many were tried.
	Logins int
	// Lost are those that no API server answered: the endpoint lost them, as it
	// would have lost any request.
	Lost []Failure
	// Refused are those that an API server answered, though with an error, while
	// the endpoint was ready just before and just after: nobody but the
	// authentication is to blame.
	Refused []Failure
	// Unready are those that were answered with an error by an API server that
	// called itself unready just before or just after.
	Unready []Failure
	// Longest is the longest time between two logins that worked.
	Longest time.Duration
	// Slowest is the longest that one login took.
	Slowest time.Duration
}

// Failure is one login that failed.
type Failure struct {
	At     time.Time
	Reason string
}

func (f Failure) String() string { return f.At.UTC().Format("15:04:05.000 ") + f.Reason }

func (r Report) String() string {
	return fmt.Sprintf("%d logins, %d lost by the endpoint, %d refused, %d refused by an API server that is not ready; longest gap %s, slowest %s",
		r.Logins, len(r.Lost), len(r.Refused), len(r.Unready), r.Longest.Round(time.Millisecond), r.Slowest.Round(time.Millisecond))
}

// patience is how long one login, and one look at the endpoint, may take.
const patience = 10 * time.Second

// Probe logs in to a cluster as a profile, at most once in an interval, until
// Stop. admin is the administrator's way into the cluster.
func (e *Environment) Probe(admin *rest.Config, profile, clusterID string, interval time.Duration) (*Prober, error) {
	transport, err := fresh(admin)
	if err != nil {
		return nil, err
	}
	endpoint := &http.Client{Transport: transport, Timeout: patience}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Prober{cancel: cancel}
	p.done.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		worked := time.Now()
		for {
			before := answers(ctx, endpoint, admin.Host)
			started := time.Now()
			_, err := p.login(ctx, e, admin, profile, clusterID)
			took := time.Since(started)
			after := err == nil || answers(ctx, endpoint, admin.Host)
			if ctx.Err() != nil {
				return // neither the cluster's fault nor the endpoint's
			}
			p.add(err, before && after, took, time.Since(worked))
			if err == nil {
				worked = time.Now()
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return p, nil
}

func (p *Prober) login(ctx context.Context, e *Environment, admin *rest.Config, profile, clusterID string) (*authenticationv1.UserInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return e.Login(ctx, admin, profile, clusterID)
}

func (p *Prober) add(err error, endpoint bool, took, gap time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Logins++
	p.report.Slowest = max(p.report.Slowest, took)
	p.report.Longest = max(p.report.Longest, gap)
	if err == nil {
		return
	}
	failure := Failure{At: time.Now(), Reason: err.Error()}
	var status apierrors.APIStatus
	switch {
	case !errors.As(err, &status):
		p.report.Lost = append(p.report.Lost, failure)
	case endpoint:
		p.report.Refused = append(p.report.Refused, failure)
	default:
		p.report.Unready = append(p.report.Unready, failure)
	}
}

// Report is what has been seen so far.
func (p *Prober) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	report := p.report
	report.Lost, report.Refused, report.Unready = slices.Clone(report.Lost), slices.Clone(report.Refused), slices.Clone(report.Unready)
	return report
}

// Stop ends the prober and returns what it has seen.
func (p *Prober) Stop() Report {
	p.cancel()
	p.done.Wait()
	return p.Report()
}

// answers tells whether an API server is ready behind an endpoint.
func answers(ctx context.Context, client *http.Client, host string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(host, "/")+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close()) == nil && response.StatusCode == http.StatusOK
}
