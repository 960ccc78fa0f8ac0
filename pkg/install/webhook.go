package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/authenticator/reason"
)

// probeToken has the shape that only an authenticator of AWS tokens looks at,
// and is one for nobody: it is refused before anything is asked of STS.
const probeToken = "k8s-aws-v1.capiam-asks-whether-anybody-is-there"

// ErrWebhookOff is returned by CheckWebhook if the API server asks no
// authenticator of AWS tokens.
var ErrWebhookOff = errors.New("the API server does not ask the authenticator: its flag --authentication-token-webhook-config-file is not set, or names another one")

// CheckWebhook asks an API server about a token that only the authenticator can
// have something to say of, and so finds out whether it is asked, reached and
// trusted. Behind a load balancer it is any one of the API servers.
func (i *Installer) CheckWebhook(ctx context.Context) error {
	review, err := i.kube.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: probeToken},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask the API server about a token: %w", err)
	}
	return judgeWebhook(review.Status)
}

// noAuthenticatorAsked is what an API server says of a token that none of its
// authenticators knows, if a webhook is not among them: that one's own error would
// stand beside it (k8s.io/apiserver, pkg/authentication/token/union).
const noAuthenticatorAsked = "invalid bearer token"

// judgeWebhook tells from what the API server says of probeToken whether it was
// the authenticator that refused it.
func judgeWebhook(s authenticationv1.TokenReviewStatus) error {
	switch {
	case s.Authenticated:
		return fmt.Errorf("the API server takes a token that is nobody's for user %q", s.User.Username)
	case s.Error == "", s.Error == noAuthenticatorAsked:
		return ErrWebhookOff
	case strings.Contains(s.Error, string(reason.Malformed)):
		return nil
	case strings.Contains(s.Error, "dial tcp"), strings.Contains(s.Error, "x509:"), strings.Contains(s.Error, "tls:"),
		strings.Contains(s.Error, "EOF"), strings.Contains(s.Error, "deadline exceeded"), strings.Contains(s.Error, "Timeout"),
		strings.Contains(s.Error, "connection reset"):
		return fmt.Errorf("the API server cannot reach the authenticator: %s", s.Error)
	}
	// aws-iam-authenticator refuses by 403, of which the API server says no more
	// than that it does not know what to make of it.
	return nil
}

// WaitWebhook waits until the API server's webhook is answered by the
// authenticator, several times in a row: behind a load balancer, by several API
// servers.
func (i *Installer) WaitWebhook(ctx context.Context) error {
	const enough = 3
	for row := 0; ; {
		err := i.CheckWebhook(ctx)
		if err == nil {
			if row++; row == enough {
				return nil
			}
			continue
		}
		row = 0
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		if sleepErr := sleep(ctx, webhookPoll); sleepErr != nil {
			return fmt.Errorf("%w (%w)", err, sleepErr)
		}
	}
}

// webhookPoll is how often an API server is asked again that is not yet as it
// will be.
const webhookPoll = time.Second
