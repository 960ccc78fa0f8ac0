package mapping

import (
	"slices"

	"github.com/capiam/capiam/pkg/iam"
)

// identity returns a text that is the same for two entries if they name the
// same principal or permission set, whatever their spelling and section. It is
// false for an entry that names nobody that can be made out.
func identity(e Entry, partition string) (string, bool) {
	if e.SSO != nil {
		if e.ARN != "" || !isPermissionSet(e.SSO.PermissionSetName) || !iam.IsAccountID(e.SSO.AccountID) {
			return "", false
		}
		if _, known := iam.LookupPartition(e.SSO.Partition); e.SSO.Partition != "" && !known {
			return "", false
		}
		return ssoKey(*e.SSO, partition), true
	}
	a, err := iam.ParseARNAnyCase(e.ARN)
	if err != nil {
		return "", false
	}
	return a.Key().String(), true
}

// id is identity for an entry that has been taken apart without a fatal fault.
func (r readEntry) id(e Entry, partition string) string {
	if e.SSO != nil {
		return ssoKey(*e.SSO, partition)
	}
	return r.arn.Key().String()
}

// describe names an entry in a message.
func describe(e Entry) string {
	if e.SSO != nil {
		return "permission set " + e.SSO.PermissionSetName + " in account " + e.SSO.AccountID
	}
	if e.ARN == "" {
		return "(no ARN)"
	}
	return clip(e.ARN)
}

func arnField(e Entry) string {
	if e.SSO != nil {
		return "sso"
	}
	return "arn"
}

// Equal tells whether two entries say the same, letter by letter. The order of
// groups counts, a missing list and an empty one are the same.
func (e Entry) Equal(o Entry) bool {
	if (e.SSO == nil) != (o.SSO == nil) || e.SSO != nil && *e.SSO != *o.SSO {
		return false
	}
	return e.ARN == o.ARN && e.UserID == o.UserID && e.Username == o.Username && slices.Equal(e.Groups, o.Groups)
}
