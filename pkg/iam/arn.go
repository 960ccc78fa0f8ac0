package iam

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what an ARN names.
type Kind uint8

// The principals STS can say somebody is.
const (
	KindUser          Kind = iota + 1 // arn:P:iam::A:user[/path]/name
	KindRole                          // arn:P:iam::A:role[/path]/name
	KindRoot                          // arn:P:iam::A:root
	KindFederatedUser                 // arn:P:sts::A:federated-user/name
	KindAssumedRole                   // arn:P:sts::A:assumed-role/role/session
)

// String returns the word the ARN has for the kind.
func (k Kind) String() string {
	switch k {
	case KindUser:
		return "user"
	case KindRole:
		return "role"
	case KindRoot:
		return "root"
	case KindFederatedUser:
		return "federated-user"
	case KindAssumedRole:
		return "assumed-role"
	default:
		return "unknown"
	}
}

// ARN is the name of one IAM principal, taken apart.
type ARN struct {
	Partition string
	// Account is the account's twelve digits.
	Account string
	Kind    Kind
	// Path is the text between the kind and the name, with a slash at its
	// end and none at its start ("aws-reserved/sso.amazonaws.com/"); mostly
	// empty.
	Path string
	// Name is the user's or role's own name; empty for the root user.
	Name string
	// Session is an assumed role's session name.
	Session string
}

// Errors that ParseARN returns wrapped, for a caller that wants to give advice
// of its own.
var (
	ErrNotARN           = errors.New("not an ARN")
	ErrUnknownPartition = errors.New("unknown partition")
	ErrBadAccount       = errors.New("account is not twelve digits")
	ErrNotPrincipal     = errors.New("does not name an IAM principal")
)

// ParseARN takes a principal's ARN apart. It is strict: the partition is one of
// the eight, the account has twelve digits, there is no region, and names hold
// only the characters IAM allows.
//
// Names: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func ParseARN(s string) (ARN, error) {
	// The resource is the sixth field, and may hold colons of its own.
	var fields [6]string
	rest, found := s, true
	for i := range 5 {
		if fields[i], rest, found = strings.Cut(rest, ":"); !found {
			break
		}
	}
	fields[5] = rest
	if !found || fields[0] != "arn" {
		return ARN{}, fmt.Errorf("%q: %w (want arn:partition:iam::account:role/name)", clip(s), ErrNotARN)
	}
	partition, service, region, account, resource := fields[1], fields[2], fields[3], fields[4], fields[5]
	if _, ok := LookupPartition(partition); !ok {
		return ARN{}, fmt.Errorf("%q: %w %q (one of %s)", clip(s), ErrUnknownPartition, clip(partition), strings.Join(PartitionIDs(), ", "))
	}
	if !isAccount(account) {
		return ARN{}, fmt.Errorf("%q: %w", clip(s), ErrBadAccount)
	}
	if region != "" {
		return ARN{}, fmt.Errorf("%q: %w: an IAM ARN has no region, this one has %q", clip(s), ErrNotPrincipal, clip(region))
	}
	a := ARN{Partition: partition, Account: account}
	kind, rest, hasRest := strings.Cut(resource, "/")
	switch service + ":" + kind {
	case "iam:root":
		if hasRest {
			return ARN{}, fmt.Errorf("%q: %w: nothing may follow root", clip(s), ErrNotPrincipal)
		}
		a.Kind = KindRoot
		return a, nil
	case "iam:user":
		a.Kind = KindUser
	case "iam:role":
		a.Kind = KindRole
	case "sts:federated-user":
		a.Kind = KindFederatedUser
	case "sts:assumed-role":
		a.Kind = KindAssumedRole
	default:
		return ARN{}, fmt.Errorf("%q: %w: want a user, role or root of iam, or an assumed-role or federated-user of sts", clip(s), ErrNotPrincipal)
	}
	if a.Kind == KindAssumedRole {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return ARN{}, fmt.Errorf("%q: %w: an assumed-role ARN has a role and a session name", clip(s), ErrNotPrincipal)
		}
		rest, a.Session = rest[:i], rest[i+1:]
		if !isName(a.Session, 64) {
			return ARN{}, fmt.Errorf("%q: %w: session name %q has characters AWS does not allow, or is empty", clip(s), ErrNotPrincipal, clip(a.Session))
		}
	}
	i := strings.LastIndexByte(rest, '/')
	a.Path, a.Name = rest[:i+1], rest[i+1:]
	if !isName(a.Name, 64) {
		return ARN{}, fmt.Errorf("%q: %w: name %q is empty, longer than 64 characters or has characters IAM does not allow (letters, digits and +=,.@_-)", clip(s), ErrNotPrincipal, clip(a.Name))
	}
	if !isPath(a.Path) {
		return ARN{}, fmt.Errorf("%q: %w: path %q is not one IAM allows", clip(s), ErrNotPrincipal, clip(a.Path))
	}
	return a, nil
}

// ParseARNAnyCase is ParseARN for an ARN that somebody has written into a mapping,
// with the words that AWS itself always writes in lower case in any case:
// aws-iam-authenticator does not heed it there, so a table may have it so. Names
// keep theirs, and Key does not heed it either.
func ParseARNAnyCase(s string) (ARN, error) {
	a, err := ParseARN(s)
	if err == nil {
		return a, nil
	}
	fields := strings.SplitN(s, ":", 6)
	if len(fields) < 6 {
		return a, err
	}
	lower := func(s string) string { return string(appendLower(nil, s)) }
	for i := range 3 {
		fields[i] = lower(fields[i])
	}
	kind, _, _ := strings.Cut(fields[5], "/")
	fields[5] = lower(kind) + fields[5][len(kind):]
	if folded, foldedErr := ParseARN(strings.Join(fields, ":")); foldedErr == nil {
		return folded, nil
	}
	return a, err
}

// String puts the ARN together again; it undoes ParseARN.
func (a ARN) String() string {
	service := "iam"
	if a.Kind == KindFederatedUser || a.Kind == KindAssumedRole {
		service = "sts"
	}
	var b strings.Builder
	b.Grow(len("arn::iam::123456789012:federated-user//") + len(a.Partition) + len(a.Path) + len(a.Name) + len(a.Session))
	b.WriteString("arn:")
	b.WriteString(a.Partition)
	b.WriteByte(':')
	b.WriteString(service)
	b.WriteString("::")
	b.WriteString(a.Account)
	b.WriteByte(':')
	b.WriteString(a.Kind.String())
	if a.Kind == KindRoot {
		return b.String()
	}
	b.WriteByte('/')
	b.WriteString(a.Path)
	b.WriteString(a.Name)
	if a.Kind == KindAssumedRole {
		b.WriteByte('/')
		b.WriteString(a.Session)
	}
	return b.String()
}

// Principal returns who stands behind the ARN: for an assumed role the role
// itself, without the session; for all others the ARN unchanged. It is what
// aws-iam-authenticator calls the canonical ARN.
func (a ARN) Principal() ARN {
	if a.Kind == KindAssumedRole {
		a.Kind, a.Session = KindRole, ""
	}
	return a
}

// StripRolePath returns the ARN without a role's path. Role names are unique in
// an account whatever their path, and GetCallerIdentity never shows the path. A
// user's path stays: STS always shows it.
func (a ARN) StripRolePath() ARN {
	if a.Kind == KindRole || a.Kind == KindAssumedRole {
		a.Path = ""
	}
	return a
}

// Key is the canonical form of a principal's ARN, and the only thing mappings
// are looked up by: partition, account, kind, name, in lower case, without a
// session and without a role's path. Two ARNs with the same Key are the same
// principal to AWS, which does not let names differ by case alone. The zero Key
// is nobody's.
type Key struct {
	arn string
}

// Key returns the ARN's canonical key.
func (a ARN) Key() Key {
	var buf [128]byte
	return Key{arn: string(a.AppendKey(buf[:0]))}
}

// AppendKey appends the text of the ARN's canonical key to dst and returns the
// longer slice. A lookup at every login uses it to do without Key's allocation.
func (a ARN) AppendKey(dst []byte) []byte {
	a = a.Principal().StripRolePath()
	dst = append(dst, "arn:"...)
	dst = appendLower(dst, a.Partition)
	if a.Kind == KindFederatedUser {
		dst = append(dst, ":sts::"...)
	} else {
		dst = append(dst, ":iam::"...)
	}
	dst = append(dst, a.Account...)
	dst = append(dst, ':')
	dst = append(dst, a.Kind.String()...)
	if a.Kind == KindRoot {
		return dst
	}
	dst = append(dst, '/')
	dst = appendLower(dst, a.Path)
	return appendLower(dst, a.Name)
}

// appendLower appends s in lower case. ARNs are ASCII.
func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// String returns the key as a lower-case ARN.
func (k Key) String() string { return k.arn }

// IsZero tells whether the key names nobody.
func (k Key) IsZero() bool { return k.arn == "" }

// isAccount tells whether s is an account's number: twelve digits.
func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// IsAccountID tells whether s is an AWS account's number: exactly twelve
// digits.
func IsAccountID(s string) bool { return isAccount(s) }

// isName tells whether s can be the name of a user, role or session.
func isName(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("+=,.@_-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// isPath tells whether s can be a path as ARN holds it: printable ASCII, no
// empty segment, a slash at the end unless it is empty.
func isPath(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 511 || s[0] == '/' || s[len(s)-1] != '/' || strings.Contains(s, "//") {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// clip shortens what a stranger sent, for an error message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
