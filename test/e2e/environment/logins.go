package environment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	return whoami(ctx, config)
}

// whoami asks an API server over a connection of its own, as a command line does.
func whoami(ctx context.Context, config *rest.Config) (*authenticationv1.UserInfo, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: config.Host, Transport: transport, BearerToken: config.BearerToken, QPS: -1})
	if err != nil {
		return nil, err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return &review.Status.UserInfo, nil
}

// Prober logs in over and over, each time with a new token and a new connection.
// At its side somebody does the same with a client certificate: what he loses,
// the endpoint loses.
type Prober struct {
	logins, control series
	cancel          context.CancelFunc
	done            sync.WaitGroup
}

// Report is what a Prober has seen.
type Report struct {
	// Logins are by token, Control those by client certificate.
	Logins, Control Series
	// Refused are logins that an API server answered with an error, while it
	// answered those by certificate: nobody but the authentication is to blame.
	Refused []Failure
}

// Series is what came of many logins, one after the other.
type Series struct {
	Tried int
	// Lost are those that no API server answered, Denied those that one answered
	// with an error.
	Lost, Denied []Failure
	// Longest is the longest time between two that worked.
	Longest time.Duration
}

// Failure is one login that failed.
type Failure struct {
	At     time.Time
	Reason string
}

func (f Failure) String() string { return f.At.UTC().Format("15:04:05.000 ") + f.Reason }

func (s Series) String() string {
	return fmt.Sprintf("%d, of which %d lost and %d denied, longest gap %s", s.Tried, len(s.Lost), len(s.Denied), s.Longest.Round(time.Millisecond))
}

func (r Report) String() string {
	return fmt.Sprintf("by token %s; by certificate %s; refused by the authentication alone: %d", r.Logins, r.Control, len(r.Refused))
}

// patience is how long one login may take, and nearby how far apart two things
// are at most that have the same cause.
const (
	patience = 10 * time.Second
	nearby   = time.Second
)

// Probe logs in to a cluster as a profile, once in an interval, until Stop.
// admin is the administrator's way into the cluster.
func (e *Environment) Probe(admin *rest.Config, profile, clusterID string, interval time.Duration) *Prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Prober{cancel: cancel}
	p.done.Go(func() {
		p.logins.run(ctx, interval, func(ctx context.Context) error {
			_, err := e.Login(ctx, admin, profile, clusterID)
			return err
		})
	})
	p.done.Go(func() {
		p.control.run(ctx, interval, func(ctx context.Context) error {
			_, err := whoami(ctx, admin)
			return err
		})
	})
	return p
}

// Stop ends the prober and returns what it has seen.
func (p *Prober) Stop() Report {
	p.cancel()
	p.done.Wait()
	report := Report{Logins: p.logins.seen, Control: p.control.seen}
	for _, denied := range report.Logins.Denied {
		shared := slices.ContainsFunc(report.Control.Denied, func(control Failure) bool {
			return control.At.Sub(denied.At).Abs() <= nearby
		})
		if !shared {
			report.Refused = append(report.Refused, denied)
		}
	}
	return report
}

// series makes a Series.
type series struct{ seen Series }

func (s *series) run(ctx context.Context, interval time.Duration, login func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for worked := time.Now(); ; {
		limited, cancel := context.WithTimeout(ctx, patience)
		err := login(limited)
		cancel()
		if ctx.Err() != nil {
			return // nobody's fault
		}
		now := time.Now()
		s.seen.Tried++
		s.seen.Longest = max(s.seen.Longest, now.Sub(worked))
		var status apierrors.APIStatus
		switch {
		case err == nil:
			worked = now
		case errors.As(err, &status):
			s.seen.Denied = append(s.seen.Denied, Failure{now, err.Error()})
		default:
			s.seen.Lost = append(s.seen.Lost, Failure{now, err.Error()})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
