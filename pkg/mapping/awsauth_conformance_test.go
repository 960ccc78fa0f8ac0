package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// G and B of the cases: a good entry, and the neighbour that something is wrong
// with.
const (
	goodText = `- rolearn: arn:aws:iam::111122223333:role/Good
  username: good
  groups:
  - system:masters
`
	badText = `- rolearn: arn:aws:iam::111122223333:role/Bad
`
)

var (
	good = Entry{ARN: "arn:aws:iam::111122223333:role/Good", Username: "good", Groups: []string{"system:masters"}}
	bad  = Entry{ARN: "arn:aws:iam::111122223333:role/Bad", Username: "bad", Groups: []string{"a", "b"}}
)

// badWas is B before something went wrong with it.
const badWas = `- rolearn: arn:aws:iam::111122223333:role/Bad
  username: bad
  groups: [a, b]
`

func TestAWSAuthConformance(t *testing.T) {
	t.Parallel()
	// roles checks what one mapRoles text gives: the entries, and a finding of
	// the severity (0: none) whose message holds the text.
	roles := func(text string, want []Entry, severity Severity, message string) func(*testing.T) {
		return func(t *testing.T) {
			a, findings := Parse(map[string]string{MapRoles: text, MapAccounts: "- \"111122223333\"\n"})
			diffMappings(t, a.Mappings(), Mappings{Roles: want, Accounts: []string{"111122223333"}})
			wantFinding(t, findings, severity, message)
		}
	}
	// damaged is roles for G and a damaged B: Parse drops B, and a server that
	// had a good B keeps that.
	damaged := func(fields, message string) func(*testing.T) {
		return func(t *testing.T) {
			data := map[string]string{MapRoles: goodText + badText + fields}
			a, findings := Parse(data)
			diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good}})
			wantFinding(t, findings, Error, message)
			keepsLastGood(t, data, message)
		}
	}
	// broken is roles for a text that is not YAML: nothing is read, other keys
	// are, and a server keeps what it had.
	broken := func(text, message string) func(*testing.T) {
		return func(t *testing.T) {
			data := map[string]string{MapRoles: text, MapUsers: strings.ReplaceAll(strings.ReplaceAll(goodText, "role/", "user/"), "rolearn", "userarn")}
			a, findings := Parse(data)
			user := good
			user.ARN = "arn:aws:iam::111122223333:user/Good"
			diffMappings(t, a.Mappings(), Mappings{Users: []Entry{user}})
			wantFinding(t, findings, Error, message)
			if got := a.Broken(); len(got) != 1 || got[0] != MapRoles {
				t.Errorf("Broken() = %v, want [mapRoles]", got)
			}
			delete(data, MapUsers)
			keepsLastGood(t, data, message)
		}
	}
	tests := map[string]func(*testing.T){
		"cm-good": roles(goodText, []Entry{good}, 0, ""),
		"cm-case-fields": func(t *testing.T) {
			for _, fields := range [][3]string{{"rOlEaRn", "UsErNaMe", "gRoUpS"}, {"roleARN", "username", "groups"}} {
				text := strings.NewReplacer("rolearn", fields[0], "username", fields[1], "groups", fields[2]).Replace(goodText)
				roles(text, []Entry{good}, 0, "")(t)
			}
		},
		"cm-case-top": func(t *testing.T) {
			for key, want := range map[string]string{"maproles": MapRoles, "MaPrOlEs": MapRoles, "mapusers": MapUsers, "mapaccounts": MapAccounts} {
				a, findings := Parse(map[string]string{key: goodText})
				diffMappings(t, a.Mappings(), Mappings{})
				wantFinding(t, findings, Error, "the key is spelled "+want)
			}
		},
		"cm-indent": damaged("  username: bad\n  groups:\n  - system:bootstrappers\n   - system:nodes\n", `holds " - "`),
		"cm-skippable": func(t *testing.T) {
			for _, text := range []string{"''", "``", `""`, " ''\n", `"''"`, `'""'`, "", "\n", "null", "~", "[]", "# nothing\n", "---\n"} {
				for _, key := range sectionNames {
					a, findings := Parse(map[string]string{key: text})
					diffMappings(t, a.Mappings(), Mappings{})
					if len(findings) > 0 || len(a.Broken()) > 0 {
						t.Errorf("%s: %q: findings %v, broken %v", key, text, findings, a.Broken())
					}
				}
			}
		},
		"cm-missing-arn":       roles(goodText+"- username: u\n  groups: [g]\n", []Entry{good}, Error, "missing: an entry names a role's ARN"),
		"cm-yaml-syntax":       broken(goodText+"- rolearn: arn:aws:iam::111122223333:role/Bad\n    username: bad\n", "not YAML"),
		"cm-unquoted-template": damaged("  username: {{SessionName}}\n", "must stand in quotes: quote it"),
		"cm-groups-int":        damaged("  username: bad\n  groups: [a, 5, c]\n", "a number is not text: quote it"),
		"cm-user-int":          damaged("  username: 12345\n", "a number is not text: quote it"),
		"cm-unknown-field": func(t *testing.T) {
			plain := Entry{ARN: bad.ARN, Username: "bad"}
			roles(goodText+badText+"  username: bad\n  bogus: 1\n", []Entry{good, plain}, Warning, `unknown field "bogus"`)(t)
		},
		"cm-null-item":        roles(goodText+"- null\n", []Entry{good}, Error, "null is not an entry"),
		"cm-scalar-item":      roles(goodText+"- hello\n", []Entry{good}, Error, "text is not an entry"),
		"cm-userarn-in-roles": roles("- userarn: arn:aws:iam::111122223333:user/U\n  username: u\n", nil, Error, "missing: an entry names a role's ARN"),
		"cm-dup-user": func(t *testing.T) {
			a, findings := Parse(map[string]string{MapUsers: "- userarn: arn:aws:iam::111122223333:user/Al\n  username: one\n- userarn: arn:aws:iam::111122223333:user/AL\n  username: two\n"})
			if len(findings) > 0 {
				t.Errorf("findings: %v", findings)
			}
			x, found := NewIndex([]Source{{Mappings: a.Mappings()}}, IndexOptions{})
			wantFinding(t, found, Warning, "mapUsers[1] names the same principal")
			m, ok := x.Lookup(mustARN(t, "arn:aws:iam::111122223333:user/al"))
			if !ok || m.Username.String() != "two" {
				t.Errorf("Lookup = %v %v, want the later entry", m.Username, ok)
			}
		},
		"cm-notarn": roles("- rolearn: hello\n  username: u\n", nil, Error, "not an ARN"),
		"cm-multidoc": func(t *testing.T) {
			roles(goodText+"---\n"+badText+"  username: bad\n", []Entry{good}, Warning, "only the first")(t)
			roles(goodText+"---\n{{{ not YAML", []Entry{good}, Warning, "only the first")(t)
		},
		"cm-sso-ok": func(t *testing.T) {
			want := Mappings{Roles: []Entry{{
				SSO:      &SSO{PermissionSetName: "ViewOnlyAccess", AccountID: "012345678912", Partition: "aws-cn"},
				Username: "viewer",
			}}}
			a, findings := Parse(map[string]string{MapRoles: "- sso: {permissionSetName: ViewOnlyAccess, accountID: \"012345678912\", partition: aws-cn}\n  username: viewer\n"})
			wantFinding(t, findings, 0, "")
			diffMappings(t, a.Mappings(), want)
			again, _ := Parse(Encode(a.Mappings()))
			diffMappings(t, again.Mappings(), want)
		},
		"cm-sso-both": roles("- rolearn: arn:aws:iam::111122223333:role/R\n  sso: {permissionSetName: V, accountID: \"012345678912\"}\n  username: u\n", nil, Error, "either an ARN or sso"),
		"cm-acc-int": func(t *testing.T) {
			a, findings := Parse(map[string]string{MapAccounts: "- 012345678901\n- 111122223333\n"})
			wantFinding(t, findings, 0, "")
			diffMappings(t, a.Mappings(), Mappings{Accounts: []string{"012345678901", "111122223333"}})
		},
		"cm-watch-add": func(t *testing.T) {
			a, _ := ParseWithLastGood(watchBefore, nil)
			if m := a.Mappings(); len(m.Users) != 2 || len(m.Roles) != 1 || len(m.Accounts) != 2 {
				t.Errorf("got %+v", m)
			}
		},
		"cm-watch-mod": func(t *testing.T) {
			first, _ := ParseWithLastGood(watchBefore, nil)
			a, _ := ParseWithLastGood(map[string]string{
				MapRoles:    goodText,
				MapUsers:    "- userarn: arn:aws:iam::111122223333:user/nic\n  username: nic\n",
				MapAccounts: "- \"111122223333\"\n- \"444455556666\"\n",
			}, first)
			diffMappings(t, a.Mappings(), Mappings{
				Roles:    []Entry{good},
				Users:    []Entry{{ARN: "arn:aws:iam::111122223333:user/nic", Username: "nic"}},
				Accounts: []string{"111122223333", "444455556666"},
			})
		},
		"cm-watch-bad": func(t *testing.T) {
			first, _ := ParseWithLastGood(watchBefore, nil)
			a, _ := ParseWithLastGood(map[string]string{MapRoles: "- rolearn: [", MapUsers: watchBefore[MapUsers], MapAccounts: "{{{"}, first)
			diffMappings(t, a.Mappings(), first.Mappings())
			if got := a.Broken(); len(got) != 2 {
				t.Errorf("Broken() = %v", got)
			}
		},
	}
	runConformance(t, "aws-auth-parsing.json", tests, "cm-nobar", "cm-watch-del", "cm-watch-hot")
}

var watchBefore = map[string]string{
	MapRoles:    goodText,
	MapUsers:    "- userarn: arn:aws:iam::111122223333:user/matlan\n  username: matlan\n- userarn: arn:aws:iam::111122223333:user/nic\n  username: nic\n",
	MapAccounts: "- \"111122223333\"\n- \"123456789012\"\n",
}

// keepsLastGood checks that a server which had G and B keeps both when it gets
// the data, and that a server started with it does not invent any.
func keepsLastGood(t *testing.T, data map[string]string, message string) {
	t.Helper()
	last, findings := Parse(map[string]string{MapRoles: goodText + badWas})
	wantFinding(t, findings, 0, "")
	for range 3 { // also when the last good one is itself one that was kept
		kept, findings := ParseWithLastGood(data, last)
		diffMappings(t, kept.Mappings(), Mappings{Roles: []Entry{good, bad}})
		wantFinding(t, findings, Error, message)
		wantFinding(t, findings, Error, "the last good one stays in force")
		last = kept
	}
}

func diffMappings(t *testing.T, got, want Mappings) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("mappings differ (-want +got):\n%s", diff)
	}
}

// wantFinding checks that there is a finding of a severity whose text holds a
// message, or, with severity 0, that there is none at all.
func wantFinding(t *testing.T, findings []Finding, severity Severity, message string) {
	t.Helper()
	if severity == 0 {
		for _, f := range findings {
			t.Errorf("unexpected %s: %s", f.Severity, f)
		}
		return
	}
	for _, f := range findings {
		if f.Severity == severity && strings.Contains(f.String(), message) {
			return
		}
	}
	t.Errorf("no %s with %q in %v", severity, message, findings)
}
