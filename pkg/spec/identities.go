package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// Sections of a spec that an Identity can come from.
const (
	SectionMapRoles    = "mapRoles"
	SectionMapUsers    = "mapUsers"
	SectionSSORoles    = "ssoRoles"
	SectionMapAccounts = "mapAccounts"
)

// Identity is one principal that the spec lets in, as a simulated STS can play
// it.
type Identity struct {
	// Name is unique in the spec and fit for an AWS profile: letters, digits
	// and ._- only.
	Name string
	// ARN is the principal's own, with its path, as the sub of a JWT has it.
	ARN iam.ARN
	// Session is the session name a role is assumed with; empty for a user.
	Session string
	// Entry is what the spec says of the principal. For an account it is what
	// its fallback amounts to: the ARN as user name, and no groups.
	Entry mapping.Entry
	// Section is the list of the spec the entry stands in.
	Section string
}

// sessionName is the session simulated roles are assumed with.
const sessionName = "capiam"

// exampleRole is the role that stands for a whole account.
const exampleRole = "capiam-example"

// reservedNames are profile names that no Identity takes: the profile the AWS
// tools use unasked, and the identity that is in no mapping.
var reservedNames = []string{"default", "stranger"}

// Identities returns a principal for each mapping, in the order roles, SSO
// roles, users, accounts. The same spec always gives the same names and ARNs.
// Left out are entries no STS without an EC2 behind it can play: those whose
// name or groups need {{EC2PrivateDNSName}}.
func (s *Spec) Identities() []Identity {
	m := s.Mappings()
	taken := make(map[string]bool)
	for _, name := range reservedNames {
		taken[name] = true
	}
	var ids []Identity
	add := func(section string, arn iam.ARN, label string, e mapping.Entry) {
		if e.Uses(mapping.VarEC2PrivateDNSName) {
			return
		}
		id := Identity{ARN: arn, Entry: e, Section: section}
		if arn.Kind == iam.KindRole {
			id.Session = sessionName
		}
		id.Name = uniqueName(label, arn.Account, taken)
		ids = append(ids, id)
	}
	explicit := make(map[iam.Key]bool)
	for _, e := range m.Roles {
		if e.SSO != nil {
			continue
		}
		if arn, err := iam.ParseARN(e.ARN); err == nil && arn.Kind == iam.KindRole {
			explicit[arn.Key()] = true
			add(SectionMapRoles, arn, arn.Name, e)
		}
	}
	for _, e := range m.Roles {
		if e.SSO != nil {
			add(SectionSSORoles, s.ssoRole(*e.SSO), e.SSO.PermissionSetName, e)
		}
	}
	for _, e := range m.Users {
		if arn, err := iam.ParseARN(e.ARN); err == nil && arn.Kind == iam.KindUser {
			add(SectionMapUsers, arn, arn.Name, e)
		}
	}
	for _, account := range m.Accounts {
		arn := iam.ARN{Partition: s.IAM.Spec.Partition, Account: account, Kind: iam.KindRole, Name: exampleRole}
		if explicit[arn.Key()] {
			continue
		}
		add(SectionMapAccounts, arn, exampleRole, mapping.Entry{ARN: arn.String(), Username: arn.String()})
	}
	return ids
}

// ssoRole returns the role IAM Identity Center would make for a permission set.
// The suffix of a real one is random; here it comes from the names, so that it
// stays the same.
func (s *Spec) ssoRole(sso mapping.SSO) iam.ARN {
	partition := sso.Partition
	if partition == "" {
		partition = s.IAM.Spec.Partition
	}
	sum := sha256.Sum256([]byte(partition + "/" + sso.AccountID + "/" + sso.PermissionSetName))
	return iam.ARN{
		Partition: partition,
		Account:   sso.AccountID,
		Kind:      iam.KindRole,
		Path:      "aws-reserved/sso.amazonaws.com/" + s.IAM.Spec.AWSRegion + "/",
		Name:      "AWSReservedSSO_" + sso.PermissionSetName + "_" + hex.EncodeToString(sum[:8]),
	}
}

// uniqueName makes a profile name of a label that nobody has yet, case aside:
// the label, then with the account, then with a number.
func uniqueName(label, account string, taken map[string]bool) string {
	base := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		default:
			return '-'
		}
	}, label)
	name := base
	for n := 1; taken[strings.ToLower(name)]; n++ {
		name = base + "-" + account
		if n > 1 {
			name = fmt.Sprintf("%s-%s-%d", base, account, n)
		}
	}
	taken[strings.ToLower(name)] = true
	return name
}
