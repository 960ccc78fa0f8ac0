package mapping

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	role := func(arn, username string, groups ...string) Mappings {
		return Mappings{Roles: []Entry{{ARN: arn, Username: username, Groups: groups}}}
	}
	user := func(arn string) Mappings { return Mappings{Users: []Entry{{ARN: arn, Username: "u"}}} }
	sso := func(s SSO) Mappings { return Mappings{Roles: []Entry{{SSO: &s, Username: "u"}}} }
	// Where a server goes on with a warning, tolerant says so.
	const goesOn = true
	for _, tt := range []struct {
		name     string
		m        Mappings
		opts     CheckOptions
		want     string // part of the one problem; empty for none
		tolerant bool
	}{
		{name: "nothing"},
		{name: "good role", m: role(roleR, "admin", "system:masters")},
		{name: "good user", m: user(userBob)},
		{name: "root under mapUsers", m: user("arn:aws:iam::111122223333:root")},
		{name: "federated user under mapUsers", m: user("arn:aws:sts::111122223333:federated-user/Bob")},
		{name: "good permission set", m: sso(SSO{PermissionSetName: "Admin", AccountID: "111122223333"})},
		{name: "node", m: role(roleR, "system:node:{{EC2PrivateDNSName}}", "system:bootstrappers", "system:nodes")},
		{name: "session name", m: role(roleR, "{{SessionName}}", "team-{{AccountID}}")},

		{name: "no ARN", m: role("", "u"), want: "mapRoles[0].arn: missing: an entry names a role's ARN"},
		{name: "no user ARN", m: user(""), want: "mapUsers[0].arn: missing: an entry names a user's ARN"},
		{name: "not an ARN", m: role("Admin", "u"), want: "not an ARN"},
		{name: "blank around the ARN", m: role(roleR+" ", "u"), want: "take the blanks around it off"},
		{name: "wildcard", m: role("arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_*", "u"), want: "wildcards are not possible"},
		{name: "unknown partition", m: role("arn:aws-nk:iam::111122223333:role/R", "u"), want: `unknown partition "aws-nk"`},
		{name: "short account", m: role("arn:aws:iam::1:role/R", "u"), want: "account is not twelve digits"},
		{name: "wrong partition", m: role("arn:aws-cn:iam::111122223333:role/R", "u"), opts: CheckOptions{Partition: "aws"}, want: "in partition aws-cn, and the cluster's is aws"},
		{name: "assumed role", m: role("arn:aws:sts::111122223333:assumed-role/Admin/alice", "u"), want: "use arn:aws:iam::111122223333:role/Admin", tolerant: goesOn},
		{name: "user under mapRoles", m: role(userBob, "u"), want: "the ARN of a user, not of a role: it belongs under mapUsers", tolerant: goesOn},
		{name: "role under mapUsers", m: user(roleR), want: "the ARN of a role: it belongs under mapRoles", tolerant: goesOn},

		{name: "permission set with a wildcard", m: sso(SSO{PermissionSetName: "View*", AccountID: "111122223333"}), want: "mapRoles[0].sso.permissionSetName"},
		{name: "permission set with a long name", m: sso(SSO{PermissionSetName: strings.Repeat("a", 33), AccountID: "111122223333"}), want: "1 to 32 letters"},
		{name: "permission set without a name", m: sso(SSO{AccountID: "111122223333"}), want: "mapRoles[0].sso.permissionSetName"},
		{name: "permission set in a short account", m: sso(SSO{PermissionSetName: "Admin", AccountID: "1"}), want: "mapRoles[0].sso.accountID"},
		{name: "permission set of no partition", m: sso(SSO{PermissionSetName: "Admin", AccountID: "111122223333", Partition: "aws-nk"}), want: "mapRoles[0].sso.partition"},
		{name: "permission set of another partition", m: sso(SSO{PermissionSetName: "Admin", AccountID: "111122223333", Partition: "aws-cn"}), opts: CheckOptions{Partition: "aws"}, want: "the cluster's is aws"},
		{name: "permission set and ARN", m: Mappings{Roles: []Entry{{ARN: roleR, SSO: &SSO{PermissionSetName: "A", AccountID: "111122223333"}, Username: "u"}}}, want: "not both"},
		{name: "permission set under mapUsers", m: Mappings{Users: []Entry{{SSO: &SSO{PermissionSetName: "A", AccountID: "111122223333"}, Username: "u"}}}, want: "belongs under mapRoles"},

		{name: "empty username", m: role(roleR, ""), want: "mapRoles[0].username: missing or empty"},
		{name: "blank after the username", m: role(roleR, "u "), want: "blanks at its start or end", tolerant: goesOn},
		{name: "line break in the username", m: role(roleR, "u\nv"), want: "control characters"},
		{name: "username that is not UTF-8", m: role(roleR, "u\xff"), want: "control characters"},
		{name: "unknown variable", m: role(roleR, "{{Session}}"), want: "unknown variable {{Session}}"},
		{name: "unclosed variable", m: role(roleR, "{{SessionName"), want: "{{ without }}"},
		{name: "session name in a JWT", m: role(roleR, "{{SessionName}}"), opts: CheckOptions{JWTOnly: true}, want: "{{SessionName}} is not in a JWT", tolerant: goesOn},
		{name: "access key in a JWT", m: role(roleR, "u", "g-{{AccessKeyID}}"), opts: CheckOptions{JWTOnly: true}, want: "mapRoles[0].groups[0]: {{AccessKeyID}} is not in a JWT", tolerant: goesOn},
		{name: "account in a JWT", m: role(roleR, "{{AccountID}}"), opts: CheckOptions{JWTOnly: true}},
		{name: "system name", m: role(roleR, "system:admin"), want: `names with "system:" are Kubernetes' own`, tolerant: goesOn},
		{name: "system name that is meant", m: role(roleR, "system:admin"), opts: CheckOptions{AllowSystemNames: true}},
		{name: "node in an administrators' group", m: role(roleR, nodeUsername, "system:masters"), want: "system:", tolerant: goesOn},
		{name: "node by session name", m: role(roleR, "system:node:{{SessionName}}", "system:nodes"), want: "system:", tolerant: goesOn},

		{name: "empty group", m: role(roleR, "u", "a", ""), want: "mapRoles[0].groups[1]: empty"},
		{name: "groups run together", m: role(roleR, "u", "system:bootstrappers - system:nodes"), want: "two groups have run together"},
		{name: "tab in a group", m: role(roleR, "u", "a\tb"), want: "control characters"},
		{name: "blank before a group", m: role(roleR, "u", " a"), want: "blanks at its start or end", tolerant: goesOn},
		{name: "unknown variable in a group", m: role(roleR, "u", "{{Foo}}"), want: "mapRoles[0].groups[0]"},

		{name: "account", m: Mappings{Accounts: []string{"012345678901"}}},
		{name: "short account", m: Mappings{Accounts: []string{"12345678901"}}, want: "mapAccounts[0]: \"12345678901\" is not an account's twelve digits"},
		{name: "account twice", m: Mappings{Accounts: []string{"012345678901", "012345678901"}}, want: "listed already at mapAccounts[0]", tolerant: goesOn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, tolerant := range []bool{false, true} {
				tt.opts.Tolerant = tolerant
				problems := Check(tt.m, tt.opts)
				if tt.want == "" {
					if len(problems) > 0 {
						t.Errorf("problems %v, want none", problems)
					}
					continue
				}
				if len(problems) != 1 || !strings.Contains(problems[0].String(), tt.want) {
					t.Fatalf("problems %v, want one with %q", problems, tt.want)
				}
				if want := tolerant && tt.tolerant; problems[0].Warning != want {
					t.Errorf("tolerant %v: warning is %v, want %v", tolerant, problems[0].Warning, want)
				}
			}
		})
	}
}

func TestCheckFindsOnePrincipalTwice(t *testing.T) {
	t.Parallel()
	permissionSet := func(name, partition string) Entry {
		return Entry{Username: "u", SSO: &SSO{PermissionSetName: name, AccountID: "111122223333", Partition: partition}}
	}
	for _, tt := range []struct {
		name   string
		a, b   Entry
		second string // section of b
		want   bool
	}{
		{"letter by letter", roleEntry(roleR), roleEntry(roleR), MapRoles, true},
		{"capitals", roleEntry(roleR), roleEntry("arn:aws:iam::111122223333:role/r"), MapRoles, true},
		{"a path", roleEntry(roleR), roleEntry("arn:aws:iam::111122223333:role/p/R"), MapRoles, true},
		{"two paths", roleEntry("arn:aws:iam::111122223333:role/q/R"), roleEntry("arn:aws:iam::111122223333:role/p/R"), MapRoles, true},
		{"another role", roleEntry(roleR), roleEntry("arn:aws:iam::111122223333:role/S"), MapRoles, false},
		{"another account", roleEntry(roleR), roleEntry("arn:aws:iam::444455556666:role/R"), MapRoles, false},
		{"user of the same name", roleEntry(roleR), roleEntry("arn:aws:iam::111122223333:user/R"), MapUsers, false},
		{"permission set", permissionSet("Admin", ""), permissionSet("ADMIN", ""), MapRoles, true},
		{"permission set with its partition", permissionSet("Admin", ""), permissionSet("Admin", "aws-cn"), MapRoles, true},
		{"another permission set", permissionSet("Admin", ""), permissionSet("Admins", ""), MapRoles, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := Mappings{Roles: []Entry{tt.a}}
			*m.sectionPtr(tt.second) = append(*m.sectionPtr(tt.second), tt.b)
			opts := CheckOptions{}
			if tt.a.SSO != nil {
				opts.Partition = "aws-cn"
			}
			problems := Check(m, opts)
			if !tt.want {
				if len(problems) > 0 {
					t.Errorf("problems %v", problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Index != len(*m.sectionPtr(tt.second))-1 || !strings.Contains(problems[0].Message, "mapRoles[0]") {
				t.Errorf("problems %v, want one that names both places", problems)
			}
		})
	}
}

func TestCheckFindsEveryProblem(t *testing.T) {
	t.Parallel()
	m := Mappings{
		Roles:    []Entry{{}, {ARN: userBob, Username: "system:x", Groups: []string{"", "a - b", "{{X}}"}}},
		Accounts: []string{"1", "2"},
	}
	problems := Check(m, CheckOptions{Partition: "aws"})
	if len(problems) != 9 {
		for _, p := range problems {
			t.Log(p)
		}
		t.Errorf("%d problems, want 9", len(problems))
	}
}

func TestCheckSize(t *testing.T) {
	t.Parallel()
	var m Mappings
	for i := range 12_000 {
		m.Roles = append(m.Roles, Entry{ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/Team-%d", i), Username: "team", Groups: []string{"capiam:view"}})
	}
	problems := Check(m, CheckOptions{})
	if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].String(), "1048576") {
		t.Errorf("problems %v, want one about the size", problems)
	}
	m.Roles = m.Roles[:5000]
	if problems := Check(m, CheckOptions{}); len(problems) != 0 {
		t.Errorf("problems %v", problems)
	}
}

func TestWhatCheckTakesTheServerHonours(t *testing.T) {
	t.Parallel()
	m := Mappings{
		Roles: []Entry{
			{ARN: "arn:aws:iam::111122223333:role/p/Admin", Username: "admin:{{SessionName}}", Groups: []string{"system:masters"}},
			{SSO: &SSO{PermissionSetName: "View.Only+x=y,z@w-1", AccountID: "012345678901"}, Username: "yes", Groups: []string{"null", "12", "a: b", "# c", "{d}"}},
			{ARN: "arn:aws:iam::111122223333:role/node", Username: nodeUsername, Groups: []string{"system:bootstrappers", "system:nodes"}},
		},
		Users:    []Entry{{ARN: "arn:aws:iam::111122223333:user/p/Alice", Username: "ålice 🙂 \"'", UserID: "AIDA"}},
		Accounts: []string{"012345678901"},
	}
	if problems := Check(m, CheckOptions{Partition: "aws"}); len(problems) > 0 {
		t.Fatalf("problems %v", problems)
	}
	a, findings := Parse(Encode(m))
	wantFinding(t, findings, 0, "")
	diffMappings(t, a.Mappings(), m)
	x, findings := NewIndex([]Source{{Mappings: a.Mappings()}}, IndexOptions{Partition: "aws"})
	wantFinding(t, findings, 0, "")
	if x.Len() != 5 {
		t.Errorf("Len() = %d, want 5", x.Len())
	}
}
