package stssim

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// code returns the error code STS gave, or "".
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("not an answer of STS: %v", err)
	}
	return api.ErrorCode()
}

func TestCallerIdentityOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		identity Identity
		arn      string
		userID   string
		key      string
	}{
		"user":            {Identity{Profile: "p"}, "arn:aws:iam::111122223333:user/div/Alice", `^AIDA[A-Z2-7]{17}$`, "AKIA"},
		"role":            {Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/team/Dev")}, "arn:aws:sts::111122223333:assumed-role/Dev/dev", `^AROA[A-Z2-7]{17}:dev$`, "ASIA"},
		"assumed role":    {Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:sts::111122223333:assumed-role/Dev/alice@example.com")}, "arn:aws:sts::111122223333:assumed-role/Dev/alice@example.com", `^AROA[A-Z2-7]{17}:alice@example\.com$`, "ASIA"},
		"named session":   {Identity{Profile: "x", Session: "bob", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")}, "arn:aws:sts::111122223333:assumed-role/Dev/bob", `^AROA[A-Z2-7]{17}:bob$`, "ASIA"},
		"no session name": {Identity{Profile: "no good!", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")}, "arn:aws:sts::111122223333:assumed-role/Dev/capiam", `^AROA[A-Z2-7]{17}:capiam$`, "ASIA"},
		"root":            {Identity{Profile: "root"}, "arn:aws:iam::111122223333:root", `^111122223333$`, "AKIA"},
		"federated user":  {Identity{Profile: "fed"}, "arn:aws:sts::111122223333:federated-user/Bob", `^111122223333:Bob$`, "ASIA"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := test.identity
			if id.ARN.Kind == 0 {
				id.ARN = mustARN(t, test.arn)
			}
			creds := w.state.Ensure(id)
			if !strings.HasPrefix(creds.AccessKeyID, test.key) || len(creds.AccessKeyID) != 20 {
				t.Errorf("access key %s, want %s and 20 characters", creds.AccessKeyID, test.key)
			}
			out, err := w.sts(region, creds).GetCallerIdentity(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := aws.ToString(out.Arn); got != test.arn {
				t.Errorf("ARN %s, want %s", got, test.arn)
			}
			if got := aws.ToString(out.Account); got != account {
				t.Errorf("account %s", got)
			}
			if got := aws.ToString(out.UserId); !regexp.MustCompile(test.userID).MatchString(got) {
				t.Errorf("user ID %s, want %s", got, test.userID)
			}
		})
	}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const (
		dev  = "arn:aws:iam::111122223333:role/team/Dev"
		free = "arn:aws:iam::111122223333:role/Nobody"
	)
	w.state.Ensure(Identity{Profile: "dev", ARN: mustARN(t, dev)})
	user := w.state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})
	root := w.state.Ensure(Identity{Profile: "root", ARN: mustARN(t, "arn:aws:iam::111122223333:root")})
	ops := w.state.Ensure(Identity{Profile: "ops", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Ops")})

	assume := func(creds *Credentials, in sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
		return w.sts(region, creds).AssumeRole(t.Context(), &in)
	}
	before := time.Now()
	out, err := assume(user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci@1"), DurationSeconds: aws.Int32(900), ExternalId: aws.String("external/1")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(out.AssumedRoleUser.Arn), "arn:aws:sts::111122223333:assumed-role/Dev/ci@1"; got != want {
		t.Errorf("assumed %s, want %s", got, want)
	}
	if d := out.Credentials.Expiration.Sub(before); d < 899*time.Second-time.Second || d > 960*time.Second {
		t.Errorf("credentials last %s, want 15 minutes", d)
	}
	creds := &Credentials{
		AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken,
	}
	who, err := w.sts(region, creds).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != *out.AssumedRoleUser.Arn || *who.UserId != *out.AssumedRoleUser.AssumedRoleId {
		t.Errorf("the credentials are %s %s, want %s %s", *who.Arn, *who.UserId, *out.AssumedRoleUser.Arn, *out.AssumedRoleUser.AssumedRoleId)
	}

	for name, test := range map[string]struct {
		creds *Credentials
		in    sts.AssumeRoleInput
		code  string
	}{
		"unknown role":          {user, sts.AssumeRoleInput{RoleArn: aws.String(free), RoleSessionName: aws.String("ci")}, "AccessDenied"},
		"role without its path": {user, sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/Dev"), RoleSessionName: aws.String("ci")}, "AccessDenied"},
		"a user":                {user, sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:user/Alice"), RoleSessionName: aws.String("ci")}, "AccessDenied"},
		"other partition":       {user, sts.AssumeRoleInput{RoleArn: aws.String("arn:aws-cn:iam::111122223333:role/team/Dev"), RoleSessionName: aws.String("ci")}, "AccessDenied"},
		"not an ARN":            {user, sts.AssumeRoleInput{RoleArn: aws.String("Dev"), RoleSessionName: aws.String("ci")}, "ValidationError"},
		"session name short":    {user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("c")}, "ValidationError"},
		"session name odd":      {user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("a b")}, "ValidationError"},
		"too short":             {user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci"), DurationSeconds: aws.Int32(899)}, "ValidationError"},
		"too long":              {user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci"), DurationSeconds: aws.Int32(43201)}, "ValidationError"},
		"chained, too long":     {ops, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci"), DurationSeconds: aws.Int32(3601)}, "ValidationError"},
		"chained":               {ops, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci"), DurationSeconds: aws.Int32(3600)}, ""},
		"root":                  {root, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci")}, "AccessDenied"},
		"external ID short":     {user, sts.AssumeRoleInput{RoleArn: aws.String(dev), RoleSessionName: aws.String("ci"), ExternalId: aws.String("x")}, "ValidationError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := assume(test.creds, test.in); code(t, err) != test.code {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}
