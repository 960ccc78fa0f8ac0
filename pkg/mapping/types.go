package mapping

import (
	"slices"
	"strings"
)

// Entry maps one principal, or one SSO permission set, to a Kubernetes user.
// It holds what was written; Check tells whether that makes sense.
type Entry struct {
	// ARN is the role's or user's ARN as written. It is empty if SSO is set.
	ARN string
	// SSO names an IAM Identity Center permission set instead of one role.
	SSO *SSO
	// UserID is the principal's unique ID. Only the DynamicFile backend in
	// strict mode looks at it.
	UserID string
	// Username and Groups may hold templates, see Template.
	Username string
	Groups   []string
}

// Uses tells whether username or groups hold a variable, one of Variables.
func (e *Entry) Uses(variable string) bool {
	holds := func(s string) bool {
		for {
			_, rest, found := strings.Cut(s, "{{")
			if !found {
				return false
			}
			if after, ok := strings.CutPrefix(rest, variable); ok && strings.HasPrefix(after, "}}") {
				return true
			}
			s = rest
		}
	}
	return holds(e.Username) || slices.ContainsFunc(e.Groups, holds)
}

// SSO names the roles IAM Identity Center makes for a permission set in one
// account: AWSReservedSSO_<PermissionSetName>_<16 hex digits>.
type SSO struct {
	PermissionSetName string
	AccountID         string
	// Partition is the cluster's own if empty.
	Partition string
}

// Mappings is a whole table, in the order it was written in.
type Mappings struct {
	Roles []Entry
	Users []Entry
	// Accounts lists accounts whose every principal logs in as its own ARN,
	// with no groups, if no entry names it.
	Accounts []string
}
