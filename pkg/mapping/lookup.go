package mapping

import (
	"errors"
	"fmt"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
)

// Principal is who has logged in, as far as a lookup needs to know.
type Principal struct {
	ARN iam.ARN
	// UserID is the principal's unique ID without a session ("AROA..."). Only
	// a source with StrictUserID looks at it.
	UserID string
}

// Source is one backend's table.
type Source struct {
	// Name is the backend's, one of Backends.
	Name     string
	Mappings Mappings
	// StrictUserID makes the table go by the entries' UserID; an entry's ARN
	// then only has to agree. It is DynamicFile's dynamicfileUserIDStrict.
	StrictUserID bool
}

// IndexOptions say what an index is for.
type IndexOptions struct {
	// Partition is the cluster's. Nobody of another partition is ever found.
	// Empty takes principals of any, and "aws" for SSO entries without one.
	Partition string
}

// Match is what an index knows about a principal.
type Match struct {
	Username Template
	Groups   []Template
	// Entry is the entry that matched; empty for an account fallback.
	Entry Entry
	// Source is the name of the source it came from.
	Source string
	// AccountFallback says that no entry names the principal, only
	// mapAccounts its account: its username is its own ARN.
	AccountFallback bool
}

// Errors that LookupPrincipal returns.
var (
	ErrNotMapped      = errors.New("not mapped")
	ErrUserIDMismatch = errors.New("ARN does not match user ID")
)

// Index is a set of tables made ready for looking up. It never changes; a new
// table makes a new Index. So any number of goroutines may use one.
type Index struct {
	partition string
	// exact is by the principal's key, sso by the key's text up to the random
	// digits, strict by user ID.
	exact, sso, strict table
	// accounts holds the name of the first source that lists an account.
	accounts map[string]string
	entries  int
}

// indexed is an entry with its place in the order of precedence.
type indexed struct {
	match Match
	// source and section (0 mapRoles, 1 mapUsers) come first; rank is 0 if
	// the entry spells the principal as STS does, 1 if a path or a session
	// had to be taken off.
	source, section, rank int
	// index is the place in the section.
	index int
	// agree is the key that a principal found by user ID must have; empty
	// takes any, "-" takes none.
	agree string
}

// NewIndex makes the sources' tables ready for looking up, in the order of
// precedence. Entries that cannot be honoured are left out and reported with
// severity Error, doubtful ones are reported as Warning.
//
// If two entries of one section name one principal, the later one counts, as
// with aws-iam-authenticator; but one that spells the ARN as STS does comes
// before one with a role's path or a session, which aws-iam-authenticator never
// matches. mapRoles come before mapUsers.
func NewIndex(sources []Source, opts IndexOptions) (*Index, []Finding) {
	principals := 0
	for _, s := range sources {
		if s.StrictUserID {
			continue
		}
		principals += len(s.Mappings.Users)
		for _, e := range s.Mappings.Roles {
			if e.SSO == nil {
				principals++
			}
		}
	}
	b := indexBuilder{
		x: &Index{
			partition: opts.Partition,
			exact:     newTable(principals),
			sso:       newTable(0),
			strict:    newTable(0),
			accounts:  make(map[string]string),
		},
		check: checker{opts: CheckOptions{Partition: opts.Partition}},
	}
	for i, s := range sources {
		for j, e := range s.Mappings.Roles {
			b.add(s, i, 0, j, e)
		}
		for j, e := range s.Mappings.Users {
			b.add(s, i, 1, j, e)
		}
		for j, account := range s.Mappings.Accounts {
			if !iam.IsAccountID(account) {
				b.report(s, MapAccounts, j, Error, "", fmt.Sprintf("%q is not an account's twelve digits", clip(account)))
				continue
			}
			if _, listed := b.x.accounts[account]; !listed {
				b.x.accounts[account] = s.Name
			}
		}
	}
	b.x.entries = b.x.exact.len() + b.x.sso.len() + b.x.strict.len() + len(b.x.accounts)
	return b.x, b.findings
}

// Len returns how many principals, permission sets and accounts the index
// knows.
func (x *Index) Len() int { return x.entries }

// Lookup returns what the index knows about a principal. It costs the same
// however many entries there are. An explicit entry of any source comes before
// every source's mapAccounts.
func (x *Index) Lookup(arn iam.ARN) (Match, bool) {
	m, err := x.LookupPrincipal(Principal{ARN: arn})
	if err != nil {
		return Match{}, false
	}
	return *m, true
}

// LookupPrincipal is Lookup for tables that go by user ID too. It returns
// ErrNotMapped, or ErrUserIDMismatch if the user ID is known and belongs to
// another ARN; such a login must be denied. The match is the index's own, and not
// to be changed: in a large table, copying it takes longer than finding it.
func (x *Index) LookupPrincipal(p Principal) (*Match, error) {
	if x.partition != "" && p.ARN.Partition != x.partition {
		return nil, ErrNotMapped
	}
	var buf [160]byte
	key := p.ARN.AppendKey(buf[:0])
	found := x.exact.get(key)
	if n, ok := ssoPrefix(p.ARN, key); ok {
		if e := x.sso.get(key[:n]); e != nil && (found == nil || e.source < found.source) {
			found = e
		}
	}
	if p.UserID != "" && x.strict.len() > 0 {
		if e := x.strict.get([]byte(p.UserID)); e != nil && (found == nil || e.source < found.source) {
			if e.agree != "" && e.agree != string(key) {
				return nil, ErrUserIDMismatch
			}
			found = e
		}
	}
	if found != nil {
		return &found.match, nil
	}
	if source, ok := x.accounts[p.ARN.Account]; ok {
		return &Match{
			Username:        Template{text: p.ARN.Principal().StripRolePath().String()},
			Source:          source,
			AccountFallback: true,
		}, nil
	}
	return nil, ErrNotMapped
}

// The name IAM Identity Center gives a permission set's role, around the set's
// own name; lower case, as in a key.
const (
	ssoRolePrefix   = "awsreservedsso_"
	ssoSuffixDigits = 16
	ssoRolePath     = "aws-reserved/sso.amazonaws.com/"
)

// ssoPrefix tells how much of a role's key names its permission set, the "_"
// before the random digits included.
func ssoPrefix(a iam.ARN, key []byte) (int, bool) {
	if a.Kind != iam.KindRole && a.Kind != iam.KindAssumedRole {
		return 0, false
	}
	// A presigned token does not show the path. If a JWT shows another one,
	// the role was made by somebody else.
	if a.Path != "" && !strings.HasPrefix(a.Path, ssoRolePath) {
		return 0, false
	}
	name := key[len(key)-len(a.Name):]
	if len(name) < len(ssoRolePrefix)+1+1+ssoSuffixDigits || string(name[:len(ssoRolePrefix)]) != ssoRolePrefix {
		return 0, false
	}
	n := len(key) - ssoSuffixDigits
	if key[n-1] != '_' {
		return 0, false
	}
	for _, c := range key[n:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, false
		}
	}
	return n, true
}

// ssoKey returns the text an SSO entry is indexed by: what ssoPrefix cuts off
// the keys of its roles.
func ssoKey(s SSO, partition string) string {
	if s.Partition != "" {
		partition = s.Partition
	}
	if partition == "" {
		partition = "aws"
	}
	return strings.ToLower("arn:" + partition + ":iam::" + s.AccountID + ":role/" + ssoRolePrefix + s.PermissionSetName + "_")
}
