package stssim

import (
	"slices"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// caller is who signed a request.
type caller struct {
	// arn is the principal: a role with its path and without the session.
	arn     iam.ARN
	session string
	userID  string
	secret  string
	expires time.Time
}

// callerARN is the ARN GetCallerIdentity shows: an assumed role with its
// session and without its path, a user with its path.
func (c caller) callerARN() string {
	a := c.arn
	if a.Kind == iam.KindRole {
		a.Kind, a.Path, a.Session = iam.KindAssumedRole, "", c.session
	}
	return a.String()
}

// callerID is the user ID GetCallerIdentity shows.
func (c caller) callerID() string {
	if c.arn.Kind == iam.KindRole {
		return c.userID + ":" + c.session
	}
	return c.userID
}

// caller finds whose access key it is. A session token must belong to the
// access key, and a long-term key must come without one.
func (s *State) caller(accessKeyID, sessionToken string) (caller, *apiError) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sessionToken == "" {
		r, ok := s.users[accessKeyID]
		if !ok {
			return caller{}, errUnknownToken
		}
		arn, err := iam.ParseARN(r.ARN)
		if err != nil {
			return caller{}, errUnknownToken
		}
		p := s.data.Principals[arn.Key().String()]
		return caller{arn: arn, userID: p.UserID, secret: r.Credentials.SecretAccessKey}, nil
	}
	in, err := openSession(s.seal, accessKeyID, sessionToken)
	if err != nil {
		return caller{}, errUnknownToken
	}
	arn, err := iam.ParseARN(in.ARN)
	if err != nil {
		return caller{}, errUnknownToken
	}
	c := caller{arn: arn, session: in.Session, userID: in.UserID, secret: in.Secret}
	if in.Expires != 0 {
		c.expires = time.Unix(in.Expires, 0)
	}
	return c, nil
}

// role returns the role of that ARN, path included, if there is one.
func (s *State) role(arn iam.ARN) (principal, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.data.Principals[arn.Key().String()]
	return p, ok && arn.Kind == iam.KindRole && p.ARN == arn.String()
}

// hosts returns the STS endpoints that are simulated.
func (s *State) hosts() *iam.HostSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.stsHosts
}

// issuerAccount returns the account whose issuer has that host name.
func (s *State) issuerAccount(host string) (string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	account, ok := s.accounts[host]
	return account, ok
}

// issuerHosts returns the host names of all issuers, sorted.
func (s *State) issuerHosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	hosts := make([]string, 0, len(s.accounts))
	for host := range s.accounts {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return hosts
}

// sealSession makes temporary credentials with the State's key.
func (s *State) sealSession(in sealed, expires time.Time) Credentials {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sealSession(s.seal, in, expires)
}
