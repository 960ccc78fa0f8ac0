package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
)

// Errors that CheckLockout returns wrapped.
var (
	ErrNoAdmin      = errors.New("nobody would be left to administer the cluster")
	ErrCallerCutOff = errors.New("you would lock yourself out")
)

// LockoutOptions say what a change must not take away.
type LockoutOptions struct {
	// AdminGroups are the groups that may do everything; system:masters if
	// empty. Name others only if a binding to cluster-admin is known to exist.
	AdminGroups []string
	// Caller is whoever makes the change; the zero ARN is nobody in
	// particular.
	Caller iam.ARN
	// Partition is the cluster's; the caller's if empty.
	Partition string
}

// CheckLockout refuses a table, as it would be after a change, in which nobody
// is mapped to an administrators' group (ErrNoAdmin), or which does not let the
// caller log in (ErrCallerCutOff). Only entries the authenticator honours
// count. An account fallback lets a caller in, but makes no administrator.
func CheckLockout(after Mappings, opts LockoutOptions) error {
	admins := opts.AdminGroups
	if len(admins) == 0 {
		admins = []string{"system:masters"}
	}
	partition := opts.Partition
	if partition == "" {
		partition = opts.Caller.Partition
	}
	index, _ := NewIndex([]Source{{Mappings: after}}, IndexOptions{Partition: partition})
	if !index.anyInGroup(admins) {
		return fmt.Errorf("%w: no entry has the group %s; keep one that has", ErrNoAdmin, strings.Join(admins, " or "))
	}
	if opts.Caller == (iam.ARN{}) {
		return nil
	}
	if _, ok := index.Lookup(opts.Caller); !ok {
		return fmt.Errorf("%w: no entry names %s; keep one that does", ErrCallerCutOff, opts.Caller.Principal().StripRolePath())
	}
	return nil
}

// anyInGroup tells whether an entry gives one of the groups.
func (x *Index) anyInGroup(groups []string) bool {
	for _, t := range []table{x.exact, x.sso, x.strict} {
		for it := range t.all() {
			for _, g := range it.match.Groups {
				if len(g.parts) == 0 && slices.Contains(groups, g.text) {
					return true
				}
			}
		}
	}
	return false
}
