package mapping

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/capiam/capiam/pkg/iam"
)

// level tells who minds a fault.
type level uint8

const (
	// fatal faults make an entry useless to everybody.
	fatal level = iota + 1
	// elsewhere is an entry of another partition: harmless, and never matched.
	elsewhere
	// specOnly faults are refused in a spec, and honoured by the server.
	specOnly
	// doubt is worth a warning everywhere.
	doubt
)

// fault is what is wrong with one entry.
type fault struct {
	level   level
	field   string
	message string
}

// readEntry is an entry taken apart.
type readEntry struct {
	arn      iam.ARN
	username Template
	groups   []Template
}

// checker looks at single entries. The spec's validation, the reading of
// aws-auth and the index all use it, so that they agree.
type checker struct {
	opts CheckOptions
}

// entry takes an entry apart. What it returns is whole unless a fault is fatal.
func (c checker) entry(section string, e Entry) (readEntry, []fault) {
	var read readEntry
	var faults []fault
	switch {
	case e.ARN == "" && e.SSO == nil:
		faults = append(faults, fault{fatal, "arn", "missing: an entry names " + wantedIn(section)})
	case e.ARN != "" && e.SSO != nil:
		faults = append(faults, fault{fatal, "sso", "an entry has either an ARN or sso, not both"})
	case e.SSO != nil:
		faults = append(faults, c.sso(section, *e.SSO)...)
	default:
		var more []fault
		read.arn, more = c.arn(section, e.ARN)
		faults = append(faults, more...)
	}
	more := c.user(e, &read)
	return read, append(faults, more...)
}

// strictEntry is entry for a table that goes by user ID, where the ARN may be
// left out.
func (c checker) strictEntry(section string, e Entry) (readEntry, []fault) {
	if e.ARN != "" || e.SSO != nil {
		if e.SSO != nil {
			return readEntry{}, []fault{{fatal, "sso", "a permission set has no user ID of its own"}}
		}
		return c.entry(section, e)
	}
	var read readEntry
	faults := c.user(e, &read)
	return read, faults
}

func wantedIn(section string) string {
	if section == MapUsers {
		return "a user's ARN (arn:aws:iam::123456789012:user/name)"
	}
	return "a role's ARN (arn:aws:iam::123456789012:role/name) or an SSO permission set"
}

// arn checks an entry's ARN.
func (c checker) arn(section, text string) (iam.ARN, []fault) {
	var faults []fault
	a, err := iam.ParseARN(text)
	if err != nil {
		if folded, foldedErr := iam.ParseARNAnyCase(text); foldedErr == nil {
			a, err = folded, nil
			faults = append(faults, fault{specOnly, "arn", fmt.Sprintf("%s has capital letters where an ARN has none: write %s", text, a)})
		}
	}
	if err != nil {
		message := err.Error()
		switch {
		case strings.TrimSpace(text) != text:
			message += "; take the blanks around it off"
		case strings.Contains(text, "*"):
			message += "; wildcards are not possible, a permission set of IAM Identity Center is named by sso"
		}
		return a, []fault{{fatal, "arn", message}}
	}
	if c.opts.Partition != "" && a.Partition != c.opts.Partition {
		faults = append(faults, fault{elsewhere, "arn", fmt.Sprintf("%s is in partition %s, and the cluster's is %s", text, a.Partition, c.opts.Partition)})
	}
	switch {
	case a.Kind == iam.KindAssumedRole:
		faults = append(faults, fault{specOnly, "arn", fmt.Sprintf("%s is one session of a role, and a mapping names the role: use %s", text, a.Principal())})
	case section == MapRoles && a.Kind != iam.KindRole:
		faults = append(faults, fault{specOnly, "arn", fmt.Sprintf("%s is the ARN of a %s, not of a role: it belongs under mapUsers", text, a.Kind)})
	case section == MapUsers && a.Kind == iam.KindRole:
		faults = append(faults, fault{specOnly, "arn", fmt.Sprintf("%s is the ARN of a role: it belongs under mapRoles", text)})
	}
	return a, faults
}

// sso checks the name of a permission set.
func (c checker) sso(section string, s SSO) []fault {
	var faults []fault
	if section != MapRoles {
		faults = append(faults, fault{fatal, "sso", "a permission set is a role: it belongs under mapRoles"})
	}
	if !isPermissionSet(s.PermissionSetName) {
		faults = append(faults, fault{fatal, "sso.permissionSetName", fmt.Sprintf("%q is not a permission set's name (1 to 32 letters, digits and +=,.@_-)", clip(s.PermissionSetName))})
	}
	if !iam.IsAccountID(s.AccountID) {
		faults = append(faults, fault{fatal, "sso.accountID", fmt.Sprintf("%q is not an account's twelve digits", clip(s.AccountID))})
	}
	if s.Partition == "" {
		return faults
	}
	if _, ok := iam.LookupPartition(s.Partition); !ok {
		faults = append(faults, fault{fatal, "sso.partition", fmt.Sprintf("unknown partition %q (one of %s)", clip(s.Partition), strings.Join(iam.PartitionIDs(), ", "))})
	} else if c.opts.Partition != "" && s.Partition != c.opts.Partition {
		faults = append(faults, fault{elsewhere, "sso.partition", fmt.Sprintf("is %s, and the cluster's is %s", s.Partition, c.opts.Partition)})
	}
	return faults
}

// isPermissionSet tells whether s can be a permission set's name.
// https://docs.aws.amazon.com/singlesignon/latest/APIReference/API_PermissionSet.html
func isPermissionSet(s string) bool {
	if s == "" || len(s) > 32 {
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

// user checks an entry's username and groups.
func (c checker) user(e Entry, read *readEntry) []fault {
	var faults []fault
	var err error
	switch {
	case e.Username == "":
		faults = append(faults, fault{fatal, "username", "missing or empty"})
	case hasControl(e.Username):
		faults = append(faults, fault{fatal, "username", fmt.Sprintf("%q has control characters", clip(e.Username))})
	default:
		if strings.TrimSpace(e.Username) != e.Username {
			faults = append(faults, fault{specOnly, "username", fmt.Sprintf("%q has blanks at its start or end", clip(e.Username))})
		}
		read.username, err = ParseTemplate(e.Username)
		if err != nil {
			faults = append(faults, fault{fatal, "username", err.Error()})
		}
		faults = append(faults, c.variables("username", read.username)...)
		faults = append(faults, c.systemName(e)...)
	}
	read.groups = make([]Template, 0, len(e.Groups))
	for i, g := range e.Groups {
		t, more := c.group(g)
		for _, f := range more {
			f.field = fmt.Sprintf("groups[%d]", i)
			faults = append(faults, f)
		}
		read.groups = append(read.groups, t)
	}
	return faults
}

// group checks one of an entry's groups. The faults have no field yet.
func (c checker) group(g string) (Template, []fault) {
	switch {
	case g == "":
		return Template{}, []fault{{level: fatal, message: "empty"}}
	case strings.Contains(g, " - "):
		return Template{}, []fault{{level: fatal, message: fmt.Sprintf("%q holds \" - \": two groups have run together, indent them alike", clip(g))}}
	case hasControl(g):
		return Template{}, []fault{{level: fatal, message: fmt.Sprintf("%q has control characters", clip(g))}}
	}
	t, err := ParseTemplate(g)
	if err != nil {
		return t, []fault{{level: fatal, message: err.Error()}}
	}
	var faults []fault
	if strings.TrimSpace(g) != g {
		faults = append(faults, fault{level: specOnly, message: fmt.Sprintf("%q has blanks at its start or end", clip(g))})
	}
	return t, append(faults, c.variables("", t)...)
}

// variables checks that the kinds of token that come in can fill a template.
func (c checker) variables(field string, t Template) []fault {
	if !c.opts.JWTOnly {
		return nil
	}
	var faults []fault
	for _, name := range t.Variables() {
		switch {
		case NeedsSession(name):
			faults = append(faults, fault{specOnly, field, fmt.Sprintf("{{%s}} is not in a JWT, and no other tokens come in", name)})
		case name == VarEC2PrivateDNSName:
			faults = append(faults, fault{doubt, field, fmt.Sprintf("{{%s}} is only known for a JWT that was issued on an EC2 instance", name)})
		}
	}
	return faults
}

// nodeUsername is what a node's kubelet is called.
const nodeUsername = "system:node:{{" + VarEC2PrivateDNSName + "}}"

// systemName refuses usernames that Kubernetes keeps for itself, apart from a
// node's with a node's groups.
func (c checker) systemName(e Entry) []fault {
	if c.opts.AllowSystemNames || !strings.HasPrefix(e.Username, "system:") {
		return nil
	}
	isNode := e.Username == nodeUsername
	for _, g := range e.Groups {
		isNode = isNode && (g == "system:bootstrappers" || g == "system:nodes")
	}
	if isNode {
		return nil
	}
	return []fault{{specOnly, "username", fmt.Sprintf("%q: names with \"system:\" are Kubernetes' own (only %q with the groups system:bootstrappers and system:nodes is for mapping); choose another", clip(e.Username), nodeUsername)}}
}

// hasControl tells whether s holds what cannot be printed.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s)
}
