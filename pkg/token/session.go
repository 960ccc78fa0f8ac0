package token

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// session is the AWS configuration and credentials a token is made with.
type session struct {
	config      aws.Config
	credentials aws.Credentials
}

// newSession loads the AWS configuration, gets the credentials and assumes the
// role, if there is one. The region is never asked of the machine's metadata
// service, which hangs for seconds where there is none.
func newSession(ctx context.Context, o Options) (*session, error) {
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, explainCredentials(err)
	}
	if err := checkRegion(cfg.Region); err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if o.RoleARN != "" {
		if o.ForwardSessionName {
			if o.SessionName, err = forwardedName(ctx, cfg, o.SessionName); err != nil {
				return nil, err
			}
		}
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN,
			func(a *stscreds.AssumeRoleOptions) {
				a.RoleSessionName = o.SessionName
				if o.ExternalID != "" {
					a.ExternalID = aws.String(o.ExternalID)
				}
			}))
	}
	if cfg.Credentials == nil {
		return nil, explainCredentials(errNoProvider)
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, explainCredentials(err)
	}
	if creds.CanExpire && !o.Clock().Before(creds.Expires) {
		return nil, fmt.Errorf("%w: they expired at %s; get new ones, with \"aws sso login\" say", ErrNoCredentials, creds.Expires.UTC().Format(time.RFC3339))
	}
	// From here on these very credentials count, whose end is known.
	cfg.Credentials = fixedCredentials{creds}
	return &session{config: cfg, credentials: creds}, nil
}

// forwardedName returns the name of the session that the credentials are of, or
// the other name if they are of none, as aws-iam-authenticator does: the text
// after the colon in the user ID of GetCallerIdentity.
func forwardedName(ctx context.Context, cfg aws.Config, otherwise string) (string, error) {
	if cfg.Credentials == nil {
		return "", explainCredentials(errNoProvider)
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("session name to forward: %w", explainCredentials(err))
	}
	_, name, found := strings.Cut(aws.ToString(out.UserId), ":")
	if !found {
		return otherwise, nil
	}
	if !isSessionName(name) {
		return "", fmt.Errorf("session name to forward: STS says %q, which no role's session can be called", name)
	}
	return name, nil
}

// loadConfig is the AWS configuration of the user's files and environment, or,
// if the options say all there is to say, theirs alone.
func loadConfig(ctx context.Context, o Options) (aws.Config, error) {
	if o.IgnoreEnvironment {
		return aws.Config{Region: o.Region, Credentials: o.Credentials, HTTPClient: o.HTTPClient, Logger: logging.Nop{}}, nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithDefaultRegion(defaultRegion),
		// The SDK's own warnings would stand among kubectl's output; what
		// matters of them comes back as an error.
		config.WithLogger(logging.Nop{}),
		config.WithAssumeRoleCredentialOptions(func(a *stscreds.AssumeRoleOptions) {
			a.TokenProvider = mfaPrompt(ctx, o.In, o.Err)
		}),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.HTTPClient != nil {
		load = append(load, config.WithHTTPClient(o.HTTPClient))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	return config.LoadDefaultConfig(ctx, load...)
}

// limit returns the time, or the credentials' end if that is earlier.
func (s *session) limit(t time.Time) time.Time {
	if s.credentials.CanExpire && s.credentials.Expires.Before(t) {
		return s.credentials.Expires
	}
	return t
}

// fixedCredentials always gives the same credentials.
type fixedCredentials struct{ creds aws.Credentials }

func (f fixedCredentials) Retrieve(context.Context) (aws.Credentials, error) { return f.creds, nil }
