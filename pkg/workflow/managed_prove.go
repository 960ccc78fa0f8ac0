package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/capiam/capiam/pkg/iam"
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
		if want.username == "" && got != nil && !got.Refused && len(c.spec.IAM.Spec.BackendMode) > 1 {
			return nil, fmt.Sprintf("%s is %q, by a mapping of another backend", me.ARN, got.Username), nil
		}
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

// findCaller remembers whose the AWS credentials at hand are, if a plan takes away
// the entry by which they log in.
func (c *managedCluster) findCaller(ctx context.Context, plan *mappingPlan) {
	if len(plan.removed)+len(plan.removedAccounts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, whoAmITimeout)
	defer cancel()
	me, err := token.WhoAmI(ctx, token.Options{ClusterID: c.keys.ClusterID, Region: c.spec.IAM.Spec.AWSRegion})
	if err != nil {
		return // nobody who could be cut off
	}
	if removes(plan, me.ARN) {
		c.caller = me.ARN
	}
}

// removes tells whether a plan takes an entry away that a principal logs in by.
func removes(plan *mappingPlan, arn iam.ARN) bool {
	if slices.Contains(plan.removedAccounts, arn.Account) {
		return true
	}
	for _, e := range plan.removed {
		if e.SSO != nil {
			index, _ := mapping.NewIndex([]mapping.Source{{Mappings: mapping.Mappings{Roles: []mapping.Entry{e}}}}, mapping.IndexOptions{Partition: arn.Partition})
			if _, ok := index.Lookup(arn.Principal()); ok {
				return true
			}
			continue
		}
		if entry, err := iam.ParseARNAnyCase(e.ARN); err == nil && entry.Key() == arn.Principal().Key() {
			return true
		}
	}
	return false
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
