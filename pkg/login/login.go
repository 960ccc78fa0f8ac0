// Package login tries a login the way a user's kubectl would do it: it makes a
// token from AWS credentials, sends it to the API server, and tells whom the
// API server took it for and what RBAC lets that user do.
//
// `capiam create cluster` and `capiam upgrade cluster` use it to prove that what
// they set up works.
package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/token"
)

// TokenKind is how an AWS identity is proved.
type TokenKind string

// The two kinds of token.
const (
	Presigned TokenKind = "presigned"
	JWT       TokenKind = "JWT"
)

// Result is the outcome of one login.
type Result struct {
	// Refused is true if the API server answered 401. Username and Groups are
	// empty then.
	Refused  bool
	Username string
	Groups   []string
	Extra    map[string]authenticationv1.ExtraValue
	// May says what RBAC lets the user do, a phrase for people.
	May string
	// Took is the time from sending the token to the API server's answer.
	Took time.Duration
}

// Cluster is where to log in.
type Cluster struct {
	// Server is the API server's URL, and CAPEM the CA it is trusted by.
	Server string
	CAPEM  []byte
	// Timeout bounds each request; 30 s if 0.
	Timeout time.Duration
}

// Make makes a token of a kind.
func Make(ctx context.Context, kind TokenKind, o token.Options) (token.Token, error) {
	if kind == JWT {
		return token.JWT(ctx, o)
	}
	return token.Presign(ctx, o)
}

// Try logs in with a token. A refusal is a Result, not an error; an error means
// that the API server could not be asked.
func (c Cluster) Try(ctx context.Context, t token.Token) (*Result, error) {
	clients, done, err := c.clientset(t)
	if err != nil {
		return nil, err
	}
	defer done()
	started := time.Now()
	review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	result := &Result{Took: time.Since(started)}
	switch {
	case apierrors.IsUnauthorized(err):
		result.Refused = true
		return result, nil
	case err != nil:
		return nil, fmt.Errorf("ask the API server who this is: %w", err)
	}
	user := review.Status.UserInfo
	result.Username, result.Extra = user.Username, user.Extra
	for _, group := range user.Groups {
		// Everybody who logs in is in this group.
		if group != "system:authenticated" {
			result.Groups = append(result.Groups, group)
		}
	}
	result.May, err = rights(ctx, clients)
	return result, err
}

func (c Cluster) clientset(t token.Token) (*kubernetes.Clientset, func(), error) {
	config := &rest.Config{
		Host:            c.Server,
		BearerToken:     t.Value,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CAPEM},
		// A login is a handful of requests; the default limit would only
		// delay them.
		QPS: -1,
	}
	config.Timeout = c.Timeout
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("talk to the API server: %w", err)
	}
	clients, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, nil, fmt.Errorf("talk to the API server: %w", err)
	}
	return clients, client.CloseIdleConnections, nil
}

// question is one thing RBAC can allow, and how to say that it does.
type question struct {
	may        string
	attributes authorizationv1.ResourceAttributes
}

// questions go from the most to the least; the first yes is the answer.
var questions = []question{
	{"everything", authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"}},
	{"edit workloads in all namespaces", authorizationv1.ResourceAttributes{Verb: "create", Group: "apps", Resource: "deployments"}},
	{"edit workloads in namespace default", authorizationv1.ResourceAttributes{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "default"}},
	{"view workloads in all namespaces", authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods"}},
}

// MayNothing is Result.May of a user to whom RBAC grants none of the above.
const MayNothing = "log in, nothing else"

func rights(ctx context.Context, clients kubernetes.Interface) (string, error) {
	for _, q := range questions {
		attributes := q.attributes
		review, err := clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
		}, metav1.CreateOptions{})
		if err != nil {
			return "", fmt.Errorf("ask the API server what it allows: %w", err)
		}
		if review.Status.Allowed {
			return q.may, nil
		}
	}
	return MayNothing, nil
}

// Until logs in again and again, each time with a token of its own, until the
// result is as wanted; it returns the last result and whether it was. The API
// server remembers a token it has accepted, and two tokens made within one
// second are the same, so a change may take that long to show. A token that
// cannot be made ends it at once.
func (c Cluster) Until(ctx context.Context, kind TokenKind, o token.Options, wanted func(*Result) bool) (result *Result, ok bool, err error) {
	for {
		t, err := Make(ctx, kind, o)
		if err != nil {
			return nil, false, err
		}
		result, err = c.Try(ctx, t)
		if err == nil && wanted(result) {
			return result, true, nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) && result != nil {
				return result, false, nil
			}
			return result, false, errors.Join(err, context.Cause(ctx))
		case <-time.After(25 * time.Millisecond):
		}
	}
}
