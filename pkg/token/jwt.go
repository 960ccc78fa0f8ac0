package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// JWT gets a JSON Web Token from STS that names the caller, for the cluster
// alone. The account must have outbound identity federation switched on.
//
// Errors about credentials wrap ErrNoCredentials.
func JWT(ctx context.Context, o Options) (Token, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Token{}, err
	}
	s, err := newSession(ctx, o)
	if err != nil {
		return Token{}, err
	}
	if s.config.Region == globalRegion {
		return Token{}, fmt.Errorf("region %s: STS issues JWTs at regional endpoints only; name a region", globalRegion)
	}
	in := &sts.GetWebIdentityTokenInput{
		Audience:         []string{o.Audience},
		SigningAlgorithm: aws.String(o.Algorithm),
		DurationSeconds:  s.jwtSeconds(o.Duration, o.Clock()),
	}
	// The answer's times are STS's; the time it took to come is ours.
	asked := o.Clock()
	out, err := sts.NewFromConfig(s.config).GetWebIdentityToken(ctx, in)
	if err != nil {
		return Token{}, explainJWT(err)
	}
	jwt := aws.ToString(out.WebIdentityToken)
	if strings.Count(jwt, ".") != 2 || out.Expiration == nil {
		return Token{}, errors.New("get a JWT from STS: the answer holds none")
	}
	return Token{
		Value:  Prefix + jwt,
		Expiry: s.limit(out.Expiration.Add(-jwtMargin(out.Expiration.Sub(asked)))),
	}, nil
}

// jwtSeconds returns how long the JWT shall live, or nil for STS's default. STS
// refuses a JWT that outlives the credentials, so those that are about to end
// get a shorter one.
func (s *session) jwtSeconds(want time.Duration, now time.Time) *int32 {
	lifetime := want
	if lifetime == 0 {
		lifetime = stsDefault
	}
	if s.credentials.CanExpire {
		// Our clock and STS's may differ a little.
		if left := s.credentials.Expires.Sub(now) - 5*time.Second; left < lifetime {
			return aws.Int32(int32(max(left, minDuration) / time.Second))
		}
	}
	if want == 0 {
		return nil
	}
	return aws.Int32(int32(want / time.Second))
}

// jwtMargin is how long before a JWT's end a client should get another: a
// minute, or less for one that does not live long.
func jwtMargin(lifetime time.Duration) time.Duration {
	return min(time.Minute, max(lifetime, 0)/4)
}

// explainJWT says what to do about STS's refusal.
func explainJWT(err error) error {
	var (
		disabled   *types.OutboundWebIdentityFederationDisabledException
		escalation *types.SessionDurationEscalationException
		api        smithy.APIError
	)
	switch {
	case errors.As(err, &disabled):
		return fmt.Errorf("get a JWT from STS: %w; an administrator of the account switches it on once, with \"aws iam enable-outbound-web-identity-federation\"", err)
	case errors.As(err, &escalation):
		return fmt.Errorf("get a JWT from STS: %w; the credentials end before the JWT would: renew them, or ask for a shorter --duration", err)
	case errors.As(err, &api) && api.ErrorCode() == "AccessDenied":
		return fmt.Errorf("get a JWT from STS: %w; the caller needs the permission sts:GetWebIdentityToken", err)
	case errors.As(err, &api) && isCredentialsCode(api.ErrorCode()):
		return explainCredentials(err)
	default:
		return fmt.Errorf("get a JWT from STS: %w", err)
	}
}
