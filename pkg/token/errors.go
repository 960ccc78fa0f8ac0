package token

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
)

// ErrNoCredentials is wrapped by errors that mean that no AWS credentials were
// found, or none that work.
var ErrNoCredentials = errors.New("no usable AWS credentials")

var errNoProvider = errors.New("no source of credentials is configured")

// explainCredentials turns the SDK's error into one that says what to do. It
// never repeats what a credential process has printed.
func explainCredentials(err error) error {
	var (
		noProfile config.SharedConfigProfileNotExistError
		sso       *ssocreds.InvalidTokenError
		process   *processcreds.ProviderError
		noMFA     config.AssumeRoleTokenProviderNotSetError
		api       smithy.APIError
	)
	switch {
	case errors.As(err, &noProfile):
		return fmt.Errorf("%w: profile %q is not in the AWS configuration; \"aws configure list-profiles\" shows those that are", ErrNoCredentials, noProfile.Profile)
	case errors.As(err, &sso):
		return fmt.Errorf("%w: the SSO session has ended; run \"aws sso login\", with --profile or AWS_PROFILE as here", ErrNoCredentials)
	case errors.As(err, &process):
		if strings.Contains(err.Error(), "process output") {
			return fmt.Errorf("%w: the profile's credential_process did not print what the AWS SDK expects", ErrNoCredentials)
		}
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	case errors.Is(err, errMFA), errors.As(err, &noMFA):
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	case errors.As(err, &api) && isCredentialsCode(api.ErrorCode()):
		return fmt.Errorf("%w: STS says %s: %s; get new ones, with \"aws sso login\" say, or choose others by AWS_PROFILE", ErrNoCredentials, api.ErrorCode(), api.ErrorMessage())
	case errors.As(err, &api) && api.ErrorCode() == "AccessDenied":
		return fmt.Errorf("assume role: %w", err)
	case errors.Is(err, errNoProvider), strings.Contains(err.Error(), "no EC2 IMDS role found"):
		return fmt.Errorf("%w: none in the environment, in the AWS configuration files or from this machine; choose a profile by AWS_PROFILE or --profile, or run \"aws sso login\" or \"aws configure\"", ErrNoCredentials)
	default:
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
}

// isCredentialsCode tells whether one of STS's error codes is about the
// credentials a request was signed with.
func isCredentialsCode(code string) bool {
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException":
		return true
	default:
		return false
	}
}
