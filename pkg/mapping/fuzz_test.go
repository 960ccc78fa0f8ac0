package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// seeds are texts of a key, good and bad.
var seeds = []string{
	"", "''", "``", "[]", "null", "# nothing\n", "---\n", "...\n", "5", "a: b",
	goodText, goodText + badWas, goodText + badText + "  username: {{SessionName}}\n",
	theirsText, oursText + theirsText, theirsText + "# end", "---\n" + theirsText + "---\n" + oursText,
	"  " + strings.ReplaceAll(oursText, "\n", "\n  "),
	strings.ReplaceAll(theirsText, "\n", "\r\n"),
	"[{rolearn: arn:aws:iam::111122223333:role/Ours, username: u}, 5]",
	"- &a\n  rolearn: arn:aws:iam::111122223333:role/Ours\n  username: u\n  groups: &g [x]\n- <<: *a\n  groups: *g\n- *a\n",
	"- sso: {permissionSetName: Admin, accountID: 012345678901}\n  username: |-\n    a\n    # b\n",
	"- 012345678901\n- \"111122223333\" # ours\n", "- - - a\n", "-\n- ~\n-", "? a\n: b\n",
	"- rolearn: \"arn:aws:iam::111122223333:role/Ours\n- b\"\n", "\ufeff- a\n", "- a\u2028- b\n", "- a\r- b\n", "%YAML 1.1\n---\n- a\n",
}

// FuzzParse checks that no text brings the parser down, that what is honoured
// is what a spec may hold too, and that it survives being written and read.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, goodText)
	}
	f.Fuzz(func(t *testing.T, text, before string) {
		last, _ := Parse(map[string]string{MapRoles: before, MapAccounts: before})
		a, findings := ParseWithLastGood(map[string]string{MapRoles: text, MapUsers: text, MapAccounts: text}, last)
		for _, f := range findings {
			if f.Message == "" || f.Key == "" || f.Severity == 0 {
				t.Errorf("empty finding %+v", f)
			}
		}
		m := a.Mappings()
		for _, p := range Check(m, CheckOptions{Tolerant: true, AllowSystemNames: true}) {
			if !p.Warning {
				t.Errorf("honoured, and yet %s", p)
			}
		}
		again, findings := Parse(Encode(m))
		for _, f := range findings {
			if f.Severity == Error {
				t.Errorf("written by us, and yet %s", f)
			}
		}
		if diff := cmp.Diff(m, again.Mappings(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written and read again (-was +is):\n%s", diff)
		}
		_, findings = NewIndex([]Source{{Mappings: m}}, IndexOptions{})
		for _, f := range findings {
			if f.Severity == Error {
				t.Errorf("honoured, and not indexed: %s", f)
			}
		}
		if p := NewPlan(m, m, a); len(a.Broken()) == 0 && text == before && len(p.Added) > 0 {
			t.Errorf("there, and planned to be added: %v", p.Lines())
		}
	})
}

// FuzzPlain checks that what readPlain reads, the YAML parser reads the same.
func FuzzPlain(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	for _, s := range []string{
		Encode(bigMappings(30))[MapRoles],
		"- username: 'a b'\n\n  # c\n  rolearn: " + good.ARN + "\n  groups:\n    - a\n    - \"b c\"\n  userid: x",
		"- sso:\n    accountID: 012345678901\n    permissionSetName: Admin\n    partition: aws\n  username: u\n",
		"- rolearn: " + good.ARN + "\n  username: u\n   v\n", "- rolearn: " + good.ARN + "\n  username: u #c\n",
		"- rolearn: " + good.ARN + "\n  username: u\n  groups:\n  - a\n    b\n", "- rolearn: " + good.ARN + "\n  username: u\n  groups:\n  -  a\n",
		"- rolearn: " + good.ARN + "\n  username: off\n", "- rolearn: " + good.ARN + "\n  username: 'it''s'\n", "- rolearn: " + good.ARN + "\n  username: \"a\\tb\"\n",
		"- rolearn: " + good.ARN + "\n  username: u\n---\n- a\n", "- rolearn: " + good.ARN + "\n  username: u\n\t\n", "- rolearn: " + good.ARN + "\n  username: \"a\"b\"\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, key := range []string{MapRoles, MapUsers} {
			items, ok := readPlain(key, text)
			if !ok {
				continue
			}
			want, findings := parseYAML(key, text)
			if want.broken != nil || len(findings) > 0 {
				t.Fatalf("plain, and yet %v", findings)
			}
			if diff := cmp.Diff(want.items, items, cmp.AllowUnexported(item{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s differs (-YAML +plain):\n%s", key, diff)
			}
		}
	})
}

func TestPlainReadsWhatEncodeWrites(t *testing.T) {
	t.Parallel()
	m := bigMappings(100)
	m.Users = []Entry{{ARN: userBob, Username: "bob:{{AccountID}}", UserID: "AIDA"}}
	for key, text := range Encode(m) {
		if items, ok := readPlain(key, text); ok != (key != MapAccounts) || ok && len(items) != len(m.section(key)) {
			t.Errorf("%s: %d items, %v", key, len(items), ok)
		}
	}
}

// FuzzPlan checks that a plan, applied, gives what was desired and leaves other
// writers' text alone, whatever the ConfigMap looks like.
func FuzzPlan(f *testing.F) {
	for i, s := range seeds {
		f.Add(s, uint8(i))
		f.Add(s, uint8(i*37))
	}
	f.Fuzz(func(t *testing.T, text string, choice uint8) {
		// Each pair of bits is one entry: not ours, removed, added, changed.
		var last, desired Mappings
		for i, e := range []Entry{ours, theirs, with(good, "other"), bad} {
			switch choice >> (2 * i) & 3 {
			case 1:
				last.Roles = append(last.Roles, e)
			case 2:
				desired.Roles = append(desired.Roles, e)
			case 3:
				last.Roles = append(last.Roles, with(e, "was"))
				desired.Roles = append(desired.Roles, e)
			}
		}
		data := map[string]string{MapRoles: text, MapUsers: text, MapAccounts: text, "other": text}
		live, _ := Parse(data)
		p := NewPlan(last, desired, live)
		after, err := p.Apply()
		if err != nil {
			if after != nil {
				t.Errorf("an error, and yet data: %v", err)
			}
			return
		}
		if after["other"] != text || after[MapAccounts] != text {
			t.Error("a key that is not touched has changed")
		}
		checkPlan(t, desired, data, p)
		read, _ := Parse(after)
		have := make(map[string]Entry)
		for _, e := range read.Mappings().Roles {
			id, _ := identity(e, "")
			have[id] = e
		}
		for _, e := range desired.Roles {
			id, _ := identity(e, "")
			if !have[id].Equal(e) {
				t.Errorf("desired %+v, got %+v", e, have[id])
			}
		}
		for _, it := range p.Foreign {
			if id, ok := identity(it.Entry, ""); ok && it.Section == MapRoles && !it.Damaged {
				if _, ok := have[id]; !ok {
					t.Errorf("foreign %+v is gone", it.Entry)
				}
			}
		}
	})
}
