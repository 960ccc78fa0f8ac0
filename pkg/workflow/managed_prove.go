package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/token"
)

// whoAmITimeout is how long it may take to find AWS credentials, and STS. Whoever
// has none is not to wait for it.
const whoAmITimeout = 10 * time.Second

// proveOwn logs in with the AWS credentials at hand, if there are any, until that
// comes out as the table says.
func (c *managedCluster) proveOwn(ctx context.Context, table mapping.Mappings) ([]Login, string, error) {
	options := token.Options{
		ClusterID: c.keys.ClusterID,
		Region:    c.spec.IAM.Spec.AWSRegion,
		Audience:  c.spec.IAM.Spec.TokenAudience(c.keys.ClusterID),
	}
	whoCtx, cancel := context.WithTimeout(ctx, whoAmITimeout)
	defer cancel()
	me, err := token.WhoAmI(whoCtx, options)
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case errors.Is(err, token.ErrNoCredentials):
		return nil, "there are none; try `kubectl auth whoami` with the users' kubeconfig and an AWS profile", nil
	case err != nil:
		return nil, fmt.Sprintf("STS could not be asked from here (%v); try `kubectl auth whoami` with the users' kubeconfig", err), nil
	}
	if me.ARN.Partition != c.spec.IAM.Spec.Partition {
		return nil, fmt.Sprintf("they are %s's, of another partition", me.ARN), nil
	}
	kinds := c.tokenKinds()
	if len(kinds) == 0 {
		return nil, "", nil
	}
	a := attempt{profile: ownProfile(), arn: me.ARN.Principal(), session: me.ARN.Session, kind: kinds[0]}
	options.Credentials = me.Credentials
	index, _ := mapping.NewIndex([]mapping.Source{{Mappings: table}}, mapping.IndexOptions{Partition: c.spec.IAM.Spec.Partition})
	want := expected(index, a, me.AccessKeyID)
	endpoint, err := c.endpoint(ctx)
	if err != nil {
		return nil, "", err
	}
	proveCtx, cancel := context.WithTimeoutCause(ctx, proveTimeout, context.DeadlineExceeded)
	defer cancel()
	got, asWanted, err := login.Cluster{Server: endpoint.URL, CAPEM: endpoint.CAPEM}.Until(proveCtx, a.kind, options, want.is)
	if err != nil {
		return nil, "", fmt.Errorf("log in as %s: %w", me.ARN, err)
	}
	if !asWanted {
		return nil, "", wrongLogin(a, want, got)
	}
	detail := fmt.Sprintf("%s is %q", me.ARN, got.Username)
	if got.Refused {
		detail = fmt.Sprintf("%s is refused, as no mapping names it", me.ARN)
	}
	return []Login{{
		Profile: a.profile, ARN: a.arn.String(), Token: a.kind, Refused: got.Refused,
		Username: got.Username, Groups: got.Groups, May: got.May,
	}}, detail, nil
}

// ownProfile is where the AWS credentials at hand come from, for people.
func ownProfile() string {
	if name := os.Getenv("AWS_PROFILE"); name != "" {
		return name
	}
	if os.Getenv("AWS_ACCESS_KEY_ID") != "" {
		return "environment"
	}
	return "default"
}
