package token

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/capiam/capiam/pkg/iam"
)

// Identity is whom AWS credentials belong to.
type Identity struct {
	// ARN is the caller's as STS gives it, with the session of a role.
	ARN iam.ARN
	// AccessKeyID is the public half of the credentials.
	AccessKeyID string
	// Credentials are the ones that STS was asked about, for making tokens
	// with.
	Credentials aws.CredentialsProvider
}

// WhoAmI finds AWS credentials as a token would be made with, and asks STS whose
// they are. Without any the error is ErrNoCredentials.
func WhoAmI(ctx context.Context, o Options) (*Identity, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	out, err := sts.NewFromConfig(s.config).GetCallerIdentity(ctx, nil)
	if err != nil {
		var api smithy.APIError
		if errors.As(err, &api) {
			err = explainCredentials(err)
		}
		return nil, fmt.Errorf("ask STS in %s whose credentials these are: %w", s.config.Region, err)
	}
	arn, err := iam.ParseARN(aws.ToString(out.Arn))
	if err != nil {
		return nil, fmt.Errorf("STS in %s: %w", s.config.Region, err)
	}
	return &Identity{ARN: arn, AccessKeyID: s.credentials.AccessKeyID, Credentials: s.config.Credentials}, nil
}
