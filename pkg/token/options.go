package token

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/capiam/capiam/pkg/iam"
)

// Prefix begins every token.
const Prefix = "k8s-aws-v1."

// Token is what a client logs in with. It is a secret: whoever has it is the
// caller, until it expires.
type Token struct {
	Value string
	// Expiry is when a client should get another one. The token itself lives
	// somewhat longer, unless the credentials end first.
	Expiry time.Time
}

// Algorithms STS signs a JWT with. RS256 is verified in a fourteenth of the
// time and is the default.
const (
	RS256 = "RS256"
	ES384 = "ES384"
)

// Options say who wants a token, and for which cluster. Only ClusterID is
// needed.
type Options struct {
	// ClusterID is the cluster's ID as its authenticator knows it.
	ClusterID string
	// Region decides which STS endpoint is used; if empty it is that of the
	// AWS configuration, or else us-east-1.
	Region string
	// Profile is one of the AWS configuration files; if empty AWS_PROFILE or
	// the default decides.
	Profile string
	// Credentials take the place of the standard credential chain.
	Credentials aws.CredentialsProvider

	// IgnoreEnvironment keeps the user's environment and AWS configuration
	// files out of it: Region, Credentials and HTTPClient are all there is.
	IgnoreEnvironment bool

	// RoleARN is a role to assume before.
	RoleARN string
	// SessionName is the name of that role's session; "capiam-token" if empty.
	SessionName string
	// ForwardSessionName gives that role's session the name of the session that
	// assumes it, if it is one, so that it can be seen who is behind it. It
	// costs a call of GetCallerIdentity, and excludes SessionName.
	ForwardSessionName bool
	// ExternalID is what the role's trust policy may ask for.
	ExternalID string

	// Audience of a JWT; the cluster ID if empty.
	Audience string
	// Algorithm of a JWT; RS256 if empty.
	Algorithm string
	// Duration is how long a JWT shall live, 60 s to 1 h; STS's default of 5
	// minutes if zero.
	Duration time.Duration

	// HTTPClient is the AWS SDK's own if nil; that one goes by HTTPS_PROXY
	// and AWS_CA_BUNDLE.
	HTTPClient aws.HTTPClient
	// Clock is time.Now if nil.
	Clock func() time.Time
	// In and Err are where the code of an MFA device is asked for, if the
	// profile names one. Without In there is nobody to ask.
	In  io.Reader
	Err io.Writer
}

const (
	defaultRegion      = "us-east-1"
	globalRegion       = "aws-global"
	defaultSessionName = "capiam-token"

	minDuration = time.Minute
	maxDuration = time.Hour
	stsDefault  = 5 * time.Minute
)

// withDefaults fills in what is empty, after checking what is not.
func (o Options) withDefaults() (Options, error) {
	if err := o.check(); err != nil {
		return o, err
	}
	if o.SessionName == "" {
		o.SessionName = defaultSessionName
	}
	if o.Audience == "" {
		o.Audience = o.ClusterID
	}
	if o.Algorithm == "" {
		o.Algorithm = RS256
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o, nil
}

func (o Options) check() error {
	if o.ClusterID == "" {
		return errors.New("cluster ID is empty")
	}
	if strings.TrimSpace(o.ClusterID) != o.ClusterID {
		return fmt.Errorf("cluster ID %q: begins or ends with white space", o.ClusterID)
	}
	if o.IgnoreEnvironment && (o.Credentials == nil || o.Region == "") {
		return errors.New("neither region nor credentials may be left out when the environment is ignored")
	}
	for i := range len(o.ClusterID) {
		// It travels in an HTTP header.
		if c := o.ClusterID[i]; c < 0x20 || c > 0x7e {
			return fmt.Errorf("cluster ID %q: has characters other than printable ASCII", o.ClusterID)
		}
	}
	if o.Region != "" {
		if err := checkRegion(o.Region); err != nil {
			return err
		}
	}
	if o.RoleARN != "" {
		arn, err := iam.ParseARN(o.RoleARN)
		if err != nil {
			return fmt.Errorf("role: %w", err)
		}
		if arn.Kind != iam.KindRole {
			return fmt.Errorf("role: %q names no role but a %s; want %s", o.RoleARN, arn.Kind, "arn:aws:iam::111122223333:role/name")
		}
	} else if o.SessionName != "" || o.ExternalID != "" {
		return errors.New("a session name or external ID goes with a role to assume, and none is given")
	}
	if o.SessionName != "" && o.ForwardSessionName {
		return errors.New("a session name is given, and is to be forwarded too: only one of them can be")
	}
	if o.SessionName != "" && !isSessionName(o.SessionName) {
		return fmt.Errorf("session name %q: want 2 to 64 letters, digits and _+=,.@-", o.SessionName)
	}
	if n := len(o.ExternalID); n != 0 && (n < 2 || n > 1224) {
		return errors.New("external ID: want 2 to 1224 characters")
	}
	if utf8.RuneCountInString(o.Audience) > 1000 {
		return errors.New("audience: longer than 1000 characters")
	}
	if o.Algorithm != "" && o.Algorithm != RS256 && o.Algorithm != ES384 {
		return fmt.Errorf("algorithm %q: STS signs with %s or %s", o.Algorithm, RS256, ES384)
	}
	if o.Duration != 0 && (o.Duration < minDuration || o.Duration > maxDuration) {
		return fmt.Errorf("duration %s: want %s to %s", o.Duration, minDuration, maxDuration)
	}
	return nil
}

// checkRegion refuses what cannot be a region: it becomes part of a host name.
func checkRegion(region string) error {
	if region == globalRegion || iam.LooksLikeRegion(region) {
		return nil
	}
	return fmt.Errorf("region %q: not the name of an AWS region, such as eu-central-1", region)
}

// isSessionName applies STS's rule for RoleSessionName.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func isSessionName(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_+=,.@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}
