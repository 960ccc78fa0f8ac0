package stssim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// actions are STS's that are simulated.
var actions = map[string]func(*Server, *request, caller) (any, *apiError){
	"GetCallerIdentity":   (*Server).getCallerIdentity,
	"AssumeRole":          (*Server).assumeRole,
	"GetWebIdentityToken": (*Server).getWebIdentityToken,
}

// act does what an authenticated request asks for.
func (s *Server) act(req *request, who caller) (any, *apiError) {
	return actions[req.action](s, req, who)
}

type callerIdentity struct {
	ARN     string `xml:"Arn" json:"Arn"`
	UserID  string `xml:"UserId" json:"UserId"`
	Account string `xml:"Account" json:"Account"`
}

func (s *Server) getCallerIdentity(_ *request, who caller) (any, *apiError) {
	return callerIdentity{ARN: who.callerARN(), UserID: who.callerID(), Account: who.arn.Account}, nil
}

type assumeRoleResult struct {
	AssumedRoleUser struct {
		AssumedRoleID string `xml:"AssumedRoleId" json:"AssumedRoleId"`
		ARN           string `xml:"Arn" json:"Arn"`
	}
	Credentials struct {
		AccessKeyID     string `xml:"AccessKeyId" json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      stamp
	}
}

// assumeRole gives a role's credentials. The simulated trust policy is simple:
// every role that exists may be assumed by everybody there is, except by a root
// user, which AWS never allows.
func (s *Server) assumeRole(req *request, who caller) (any, *apiError) {
	session := req.param("RoleSessionName")
	if !isSessionName(session) {
		return nil, errValidation("1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must have a length of 2 to 64 and satisfy regular expression pattern: [\\w+=,.@-]*")
	}
	seconds, fail := req.seconds("DurationSeconds", 3600, 900, 43200)
	if fail != nil {
		return nil, fail
	}
	if id := req.param("ExternalId"); id != "" && (len(id) < 2 || len(id) > 1224) {
		return nil, errValidation("1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must have a length of 2 to 1224")
	}
	target := req.param("RoleArn")
	arn, err := iam.ParseARN(target)
	if err != nil {
		return nil, errValidation(fmt.Sprintf("%s is invalid", target))
	}
	if who.arn.Kind == iam.KindRoot {
		return nil, errAccessDenied("Roles may not be assumed by root accounts.")
	}
	role, ok := s.state.role(arn)
	if !ok {
		return nil, errAccessDenied(fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", who.callerARN(), target))
	}
	if who.arn.Kind == iam.KindRole && seconds > 3600 {
		return nil, errValidation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}

	expires := s.clock().Add(time.Duration(seconds) * time.Second).UTC().Truncate(time.Second)
	creds := s.state.sealSession(sealed{ARN: role.ARN, Session: session, UserID: role.UserID}, expires)
	var out assumeRoleResult
	as := caller{arn: arn, session: session, userID: role.UserID}
	out.AssumedRoleUser.AssumedRoleID = as.callerID()
	out.AssumedRoleUser.ARN = as.callerARN()
	out.Credentials.AccessKeyID = creds.AccessKeyID
	out.Credentials.SecretAccessKey = creds.SecretAccessKey
	out.Credentials.SessionToken = creds.SessionToken
	out.Credentials.Expiration = stamp(expires)
	return out, nil
}

// seconds reads a parameter that is a number of seconds within bounds.
func (r *request) seconds(name string, otherwise, least, most int) (int, *apiError) {
	text, ok := first(r.params, name)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, &apiError{400, "MalformedInput", name + " is not a number"}
	}
	if n < least || n > most {
		return 0, errValidation(fmt.Sprintf("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have a value from %d to %d", n, name, least, most))
	}
	return n, nil
}
