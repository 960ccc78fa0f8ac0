package stssim

import (
	"crypto/cipher"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// State is everything the simulation knows: identities and their credentials,
// the accounts' token issuers, and the CA. It is safe for concurrent use, also
// while a Server is answering from it.
type State struct {
	now func() time.Time

	mu   sync.RWMutex
	data stateData
	// users finds a user's record by the access key.
	users map[string]*record
	// accounts finds the account of an issuer's host name.
	accounts map[string]string
	stsHosts *iam.HostSet
	ca       *authority
	seal     cipher.AEAD
}

// StateOptions say what a new State simulates.
type StateOptions struct {
	// Partition is the AWS partition, "aws" if empty.
	Partition string
	// Regions are served besides the partition's own. Each must look like a
	// region's name.
	Regions []string
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Identity is somebody who can get credentials.
type Identity struct {
	// Profile is the name the credentials are kept under. Two profiles of one
	// principal have different credentials and the same user ID.
	Profile string
	// ARN is a user, role, root or federated user; a role's with its path, as
	// IAM would show it. An assumed-role ARN means that role and session.
	ARN iam.ARN
	// Session is the session name of a role. If empty it is the ARN's, or the
	// profile's name if that can be one, or "capiam".
	Session string
	// Lifetime limits how long temporary credentials last; zero is for ever.
	// Ensure replaces credentials that have expired.
	Lifetime time.Duration
}

// Credentials are what an AWS client signs with.
type Credentials struct {
	AccessKeyID     string `json:"accessKeyID"`
	SecretAccessKey string `json:"secretAccessKey"`
	// SessionToken is empty for a user's or the root's long-term credentials.
	SessionToken string `json:"sessionToken,omitempty"`
	// Expires is zero if they never do.
	Expires time.Time `json:"expires,omitzero"`
}

// stateData is the State's form in its file.
type stateData struct {
	Version   int      `json:"version"`
	Partition string   `json:"partition"`
	Regions   []string `json:"regions,omitempty"`
	// SealKey encrypts session tokens, so that they need not be remembered.
	SealKey []byte  `json:"sealKey"`
	CA      keyPair `json:"ca"`
	// Principals by iam.Key.
	Principals map[string]principal `json:"principals"`
	Identities []*record            `json:"identities"`
	// Issuers by account.
	Issuers map[string]*issuer `json:"issuers"`
}

// principal is a user, role or the like, whoever has credentials for it.
type principal struct {
	ARN    string `json:"arn"`
	UserID string `json:"userID"`
}

// record is one identity's credentials.
type record struct {
	Profile     string      `json:"profile"`
	ARN         string      `json:"arn"`
	Session     string      `json:"session,omitempty"`
	Credentials Credentials `json:"credentials"`
}

const stateVersion = 1

// NewState returns an empty State with a CA of its own.
func NewState(opts StateOptions) (*State, error) {
	if opts.Partition == "" {
		opts.Partition = "aws"
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	hosts, err := hostSet(opts.Partition, opts.Regions)
	if err != nil {
		return nil, err
	}
	ca, err := newAuthority(permittedNames(opts.Partition, hosts), opts.Now())
	if err != nil {
		return nil, fmt.Errorf("make the simulated STS's CA: %w", err)
	}
	s := &State{now: opts.Now}
	err = s.adopt(stateData{
		Version:    stateVersion,
		Partition:  opts.Partition,
		Regions:    slices.Clone(opts.Regions),
		SealKey:    randomBytes(32),
		CA:         ca,
		Principals: map[string]principal{},
		Issuers:    map[string]*issuer{},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// adopt makes data the State's contents, after checking all of it.
func (s *State) adopt(data stateData) error {
	if data.Version != stateVersion {
		return fmt.Errorf("simulated STS: state has version %d, this program reads %d", data.Version, stateVersion)
	}
	hosts, err := hostSet(data.Partition, data.Regions)
	if err != nil {
		return err
	}
	ca, err := data.CA.authority()
	if err != nil {
		return fmt.Errorf("simulated STS: state: ca: %w", err)
	}
	seal, err := newSeal(data.SealKey)
	if err != nil {
		return fmt.Errorf("simulated STS: state: sealKey: %w", err)
	}
	if data.Principals == nil {
		data.Principals = map[string]principal{}
	}
	if data.Issuers == nil {
		data.Issuers = map[string]*issuer{}
	}
	users := map[string]*record{}
	for i, r := range data.Identities {
		if r == nil {
			return fmt.Errorf("simulated STS: state: identities[%d] is null", i)
		}
		arn, err := iam.ParseARN(r.ARN)
		if err != nil {
			return fmt.Errorf("simulated STS: state: identities[%d]: %w", i, err)
		}
		if _, ok := data.Principals[arn.Key().String()]; !ok {
			return fmt.Errorf("simulated STS: state: identities[%d]: no principal for %s", i, arn)
		}
		if r.Credentials.SessionToken == "" {
			users[r.Credentials.AccessKeyID] = r
		}
	}
	accounts := map[string]string{}
	for account, is := range data.Issuers {
		if is == nil {
			return fmt.Errorf("simulated STS: state: issuers[%q] is null", account)
		}
		if err := is.load(); err != nil {
			return fmt.Errorf("simulated STS: state: issuers[%q]: %w", account, err)
		}
		accounts[issuerHost(data.Partition, is.UUID)] = account
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = time.Now
	}
	s.data, s.users, s.accounts, s.stsHosts, s.ca, s.seal = data, users, accounts, hosts, ca, seal
	return nil
}

// Partition returns the partition the State simulates.
func (s *State) Partition() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.data.Partition
}

// CAPEM returns the certificate clients must trust, in PEM.
func (s *State) CAPEM() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return []byte(s.data.CA.Cert)
}

// Ensure makes the identity exist and returns its credentials; asked again it
// returns the same ones. The first identity of an account also brings the
// account's token issuer, which takes a moment for its keys.
//
// A role's credentials are temporary ones (ASIA...), with a session token; a
// user's and the root's are long-term ones (AKIA...).
func (s *State) Ensure(id Identity) *Credentials {
	arn, session := id.ARN.Principal(), ""
	switch arn.Kind {
	case iam.KindRole:
		session = sessionName(id)
	case iam.KindFederatedUser:
		session = arn.Name
	}
	s.ensureIssuer(arn.Account)

	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ensurePrincipal(arn)
	for _, r := range s.data.Identities {
		if r.Profile == id.Profile && r.ARN == p.ARN && r.Session == session {
			if expires := r.Credentials.Expires; !expires.IsZero() && !expires.After(s.now()) {
				r.Credentials = s.issue(arn, session, p.UserID, id.Lifetime)
			}
			out := r.Credentials
			return &out
		}
	}
	r := &record{Profile: id.Profile, ARN: p.ARN, Session: session}
	r.Credentials = s.issue(arn, session, p.UserID, id.Lifetime)
	if r.Credentials.SessionToken == "" {
		s.users[r.Credentials.AccessKeyID] = r
	}
	s.data.Identities = append(s.data.Identities, r)
	out := r.Credentials
	return &out
}

// ensurePrincipal returns the principal, with its ARN as given last: a role's
// path may have been learnt since. The caller holds the lock.
func (s *State) ensurePrincipal(arn iam.ARN) principal {
	key := arn.Key().String()
	p, ok := s.data.Principals[key]
	if !ok {
		p.UserID = newUserID(arn)
	}
	p.ARN = arn.String()
	s.data.Principals[key] = p
	return p
}

// issue makes credentials. The caller holds the lock.
func (s *State) issue(arn iam.ARN, session, userID string, lifetime time.Duration) Credentials {
	if arn.Kind == iam.KindUser || arn.Kind == iam.KindRoot {
		return Credentials{AccessKeyID: newID("AKIA", 16), SecretAccessKey: newSecret()}
	}
	var expires time.Time
	if lifetime > 0 {
		expires = s.now().Add(lifetime).UTC().Truncate(time.Second)
	}
	return sealSession(s.seal, sealed{ARN: arn.String(), Session: session, UserID: userID}, expires)
}

// sessionName is the session name Ensure gives a role's credentials.
func sessionName(id Identity) string {
	for _, name := range []string{id.Session, id.ARN.Session, id.Profile} {
		if isSessionName(name) {
			return name
		}
	}
	return "capiam"
}

// isSessionName applies AssumeRole's rule for RoleSessionName: 2 to 64 of
// letters, digits and _+=,.@-
func isSessionName(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '_' || c == '+' || c == '=' || c == ',' || c == '.' || c == '@' || c == '-':
		default:
			return false
		}
	}
	return true
}

// hostSet returns the STS hosts of a partition.
func hostSet(partition string, regions []string) (*iam.HostSet, error) {
	p, ok := iam.LookupPartition(partition)
	if !ok {
		return nil, fmt.Errorf("simulated STS: unknown partition %q (one of %v)", partition, iam.PartitionIDs())
	}
	hosts, err := iam.NewHostSet(p, regions...)
	if err != nil {
		return nil, fmt.Errorf("simulated STS: %w", err)
	}
	return hosts, nil
}
