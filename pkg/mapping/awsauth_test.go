package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFindingsNameTheirPlace(t *testing.T) {
	t.Parallel()
	const text = `# our roles
- rolearn: arn:aws:iam::111122223333:role/Good
  username: good

- rolearn: arn:aws:iam::111122223333:role/Bad
  username: bad
  groups:
  - a
  - ""
- rolearn: hello
  username: u
- sso: {permissionSetName: Admin, accountID: 1}
  username: u
- hello
`
	_, findings := Parse(map[string]string{MapRoles: text})
	var got []string
	for _, f := range findings {
		if f.Severity != Error {
			t.Errorf("severity of %s is %s", f, f.Severity)
		}
		got = append(got, strings.Join(strings.Fields(f.String())[:3], " "))
	}
	want := []string{
		"mapRoles[1].groups[1] (line 9):",
		"mapRoles[2].arn (line 10):",
		"mapRoles[3].sso.accountID (line 12):",
		"mapRoles[4] (line 14):",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("findings at\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBrokenKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"syntax", "- a: b\n   c: d\n", "line 2: not YAML"},
		{"open bracket", "- [", "not YAML"},
		{"tab", "-\trolearn: x\n\tusername: u\n", "not YAML"},
		{"mapping", "rolearn: x\nusername: u\n", "not a list"},
		{"text", "hello", "not a list"},
		{"number", "5", "not a list"},
		{"unknown alias", "- *a\n", "unknown anchor"},
		{"template starts a value", "- username: {{SessionName}}:x\n", "quote it"},
		{"control character", "- a: \x01\n", "control characters"},
		{"not UTF-8", "- a: \xff\n", "not YAML"},
		{"too large", "# " + strings.Repeat("x", MaxConfigMapBytes), "more than a ConfigMap holds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, findings := Parse(map[string]string{MapUsers: tt.text, MapRoles: goodText})
			if got := a.Broken(); len(got) != 1 || got[0] != MapUsers {
				t.Errorf("Broken() = %v", got)
			}
			if len(findings) != 1 || findings[0].Severity != Error || findings[0].Index != -1 {
				t.Errorf("findings %+v", findings)
			}
			if got := a.sections[MapUsers].broken.Error(); !strings.Contains(got, tt.want) {
				t.Errorf("broken because %q, want %q", got, tt.want)
			}
			diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good}})
		})
	}
}

func TestDamagedEntries(t *testing.T) {
	t.Parallel()
	const arn = "rolearn: arn:aws:iam::111122223333:role/Bad"
	for _, tt := range []struct{ name, item, want string }{
		{"groups as text", arn + "\n  username: u\n  groups: system:masters", "text is not a list"},
		{"null group", arn + "\n  username: u\n  groups: [~]", "null is not text"},
		{"list in groups", arn + "\n  username: u\n  groups: [[a]]", "a list is not text"},
		{"no username", arn, "missing or empty"},
		{"null username", arn + "\n  username:", "missing or empty"},
		{"username true", arn + "\n  username: true", "a truth value is not text"},
		{"username a date", arn + "\n  username: 2026-01-01", "a date is not text"},
		{"username binary", arn + "\n  username: !!binary aGVsbG8=", "is not text"},
		{"username twice", arn + "\n  username: a\n  userName: b", "userName is there twice"},
		{"ARN twice", arn + "\n  username: a\n  roleARN: arn:aws:iam::111122223333:role/Bad", "roleARN is there twice"},
		{"ARN a number", "rolearn: 5\n  username: a", "a number is not text"},
		{"unknown variable", arn + "\n  username: \"{{Foo}}\"", "unknown variable"},
		{"sso as text", "sso: Admin\n  username: u", "text is not a permission set"},
		{"sso without account", "sso: {permissionSetName: Admin}\n  username: u", "sso.accountID"},
		{"field that is no name", arn + "\n  username: u\n  ? [a]\n  : b", "is not the name of a field"},
		{"merge of text", arn + "\n  <<: x\n  username: u", "wants a mapping"},
		{"list", "- a", "a list is not an entry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, findings := Parse(map[string]string{MapRoles: goodText + "- " + tt.item + "\n"})
			diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good}})
			wantFinding(t, findings, Error, tt.want)
		})
	}
}

func TestTolerated(t *testing.T) {
	t.Parallel()
	entry := Entry{ARN: good.ARN, Username: "good"}
	grouped := good
	for _, tt := range []struct {
		name, text string
		want       []Entry
	}{
		{"JSON", `[{"rolearn": "` + good.ARN + `", "username": "good", "groups": ["system:masters"]}]`, []Entry{grouped}},
		{"null groups", "- rolearn: " + good.ARN + "\n  username: good\n  groups:\n", []Entry{entry}},
		{"null sso", "- rolearn: " + good.ARN + "\n  username: good\n  sso:\n", []Entry{entry}},
		{"CRLF", strings.ReplaceAll(goodText, "\n", "\r\n"), []Entry{grouped}},
		{"comments", "# one\n" + strings.ReplaceAll(goodText, "\n", " # two\n"), []Entry{grouped}},
		{"document start", "---\n" + goodText, []Entry{grouped}},
		{"further in", strings.ReplaceAll("\n"+goodText, "\n", "\n    "), []Entry{grouped}},
		{"quoted field", "- \"rolearn\": " + good.ARN + "\n  'username': good\n", []Entry{entry}},
		{"tagged number", "- rolearn: " + good.ARN + "\n  username: !!str 12345\n", []Entry{{ARN: good.ARN, Username: "12345"}}},
		{
			"anchors", "- rolearn: " + good.ARN + "\n  username: good\n  groups: &g [system:masters]\n- rolearn: " + bad.ARN + "\n  username: bad\n  groups: *g\n",
			[]Entry{grouped, {ARN: bad.ARN, Username: "bad", Groups: []string{"system:masters"}}},
		},
		{
			"merge keys", "- &base\n  rolearn: " + good.ARN + "\n  username: good\n  groups: [system:masters]\n- <<: *base\n  rolearn: " + bad.ARN + "\n- <<: [*base]\n  rolearn: " + roleR + "\n  username: r\n",
			[]Entry{grouped, {ARN: bad.ARN, Username: "good", Groups: good.Groups}, {ARN: roleR, Username: "r", Groups: good.Groups}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, findings := Parse(map[string]string{MapRoles: tt.text})
			wantFinding(t, findings, 0, "")
			diffMappings(t, a.Mappings(), Mappings{Roles: tt.want})
		})
	}
}

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	_, findings := Parse(map[string]string{"mapRole": "x", MapRoles: goodText})
	if len(findings) != 1 || findings[0].Severity != Warning || findings[0].Key != "mapRole" {
		t.Errorf("findings %v", findings)
	}
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	entry := func(name string) string {
		return "- rolearn: arn:aws:iam::111122223333:role/" + name + "\n  username: " + name + "\n"
	}
	was := entry("A") + entry("B") + entry("C")
	for _, tt := range []struct{ name, now, want string }{
		{"gone is gone", entry("A") + entry("C"), "A C"},
		{"emptied is empty", "", ""},
		{"damaged in its place", entry("A") + "- rolearn: arn:aws:iam::111122223333:role/B\n  username: 5\n" + entry("C"), "A B C"},
		{"damaged by its ARN in another spelling", "- rolearn: arn:aws:iam::111122223333:role/p/b\n  username: 5\n", "B"},
		{"ARN is damaged, found by username", entry("A") + "- rolearn: arn:aws:iam::1:role/B\n  username: B\n" + entry("C"), "A B C"},
		{"ARN is gone, found by username", "- username: C\n", "C"},
		{"damaged and new", entry("A") + "- rolearn: arn:aws:iam::111122223333:role/D\n  username: 5\n", "A"},
		{"damaged and nobody", entry("A") + "- hello\n- null\n- {}\n", "A"},
		{"damaged beside the good one", entry("B") + "- rolearn: arn:aws:iam::111122223333:role/B\n  username: 5\n", "B"},
		{"damaged twice", "- rolearn: x\n  username: B\n- rolearn: y\n  username: B\n", "B"},
		{"nameless, found by its place", entry("A") + "- rolearn: []\n  username: []\n" + entry("C"), "A B C"},
		{"nameless at the beginning", "- rolearn: []\n" + entry("B") + entry("C"), "A B C"},
		{"nameless at the end", entry("A") + entry("B") + "- rolearn: []\n", "A B C"},
		{"nameless, all of them", "- rolearn: []\n- 5\n- null\n", "A B C"},
		{"nameless beside one with a name", entry("A") + "- username: B\n- {}\n", "A B C"},
		{"nameless in another's place", entry("A") + "- {}\n- username: B\n", "A B"},
		{"nameless, and another is gone", entry("A") + "- rolearn: []\n", "A"},
		{"nameless, and another is new", entry("A") + "- rolearn: []\n" + entry("D") + entry("C"), "A D C"},
		{"nameless and new", entry("A") + entry("B") + "- rolearn: []\n" + entry("C"), "A B C"},
		{"nameless, and the neighbours have moved", entry("C") + "- rolearn: []\n" + entry("A"), "C A"},
		{"no name of ours", entry("A") + "- rolearn: []\n  username: D\n" + entry("C"), "A C"},
		{"not YAML", "- rolearn: [", "A B C"},
		{"not a list", "mapRoles: []", "A B C"},
		{"another's place under its name", entry("A") + "- rolearn: []\n  username: B\n" + entry("C"), "A B C"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			last, _ := Parse(map[string]string{MapRoles: was})
			a, _ := ParseWithLastGood(map[string]string{MapRoles: tt.now}, last)
			var got []string
			for _, e := range a.Mappings().Roles {
				got = append(got, e.Username)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("in force: %v, want %s", got, tt.want)
			}
		})
	}
}

func TestHostileYAMLCostsLittle(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("- &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range 30 {
		fmt.Fprintf(&bomb, "- &a%d [%s*a%d]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), i)
	}
	manyGroups := "[" + strings.Repeat("g, ", 100_000) + "g]"
	for _, tt := range []struct {
		name, text string
		broken     bool
	}{
		{"nested aliases", bomb.String() + "- rolearn: x\n  username: *a30\n", false},
		{"nested aliases in an unknown field", bomb.String() + badText + "  username: bad\n  x: *a30\n", false},
		{"one entry many times", "- &e\n  rolearn: " + good.ARN + "\n  username: good\n  groups: " + manyGroups + "\n" + strings.Repeat("- *e\n", 100_000), true},
		{"one list many times", "- " + "rolearn: " + good.ARN + "\n  username: good\n  groups: &g " + manyGroups + "\n" + strings.Repeat("- {rolearn: x, groups: *g}\n", 20_000), true},
		{"alias to itself", "- &a\n  rolearn: " + good.ARN + "\n  username: u\n  groups: [*a]\n- &b [*b]\n- &c {<<: *c}\n", true},
		{"merges that double", "- &m0 {a: b}\n" + func() string {
			var b strings.Builder
			for i := range 30 {
				fmt.Fprintf(&b, "- &m%d {<<: [*m%d, *m%d]}\n", i+1, i, i)
			}
			return b.String()
		}(), true},
		{"deep", "- " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), false},
		{"deeper", "- " + strings.Repeat("[", 500_000), true},
		{"many fields", "- " + func() string {
			var b strings.Builder
			for i := range 60_000 {
				fmt.Fprintf(&b, "f%d: x\n  ", i)
			}
			return b.String()
		}(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			done := make(chan *AWSAuth, 1)
			go func() {
				a, _ := Parse(map[string]string{MapRoles: tt.text})
				done <- a
			}()
			select {
			case a := <-done:
				if got := len(a.Broken()) > 0; got != tt.broken {
					t.Errorf("broken is %v, want %v", got, tt.broken)
				}
			case <-time.After(time.Minute):
				t.Fatal("still at it after a minute")
			}
		})
	}
}

func TestEncodeShape(t *testing.T) {
	t.Parallel()
	got := Encode(Mappings{
		Roles: []Entry{
			{ARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin:{{SessionName}}", Groups: []string{"system:masters", "12"}},
			{SSO: &SSO{PermissionSetName: "View", AccountID: "012345678901"}, Username: "yes"},
		},
		Users:    []Entry{{ARN: "arn:aws:iam::111122223333:user/alice", Username: "alice", Groups: []string{}}},
		Accounts: []string{"012345678901"},
	})
	want := map[string]string{
		MapRoles: `- rolearn: arn:aws:iam::111122223333:role/Admin
  username: "admin:{{SessionName}}"
  groups:
  - system:masters
  - "12"
- sso:
    permissionSetName: View
    accountID: "012345678901"
  username: "yes"
`,
		MapUsers: `- userarn: arn:aws:iam::111122223333:user/alice
  username: alice
`,
		MapAccounts: "- \"012345678901\"\n",
	}
	for key := range want {
		if got[key] != want[key] {
			t.Errorf("%s:\n%s\nwant\n%s", key, got[key], want[key])
		}
	}
	if got := Encode(Mappings{}); len(got) != 0 {
		t.Errorf("an empty table gives %v", got)
	}
}

func TestDataIsKept(t *testing.T) {
	t.Parallel()
	data := map[string]string{MapRoles: goodText, "other": "x"}
	a, _ := Parse(data)
	data[MapRoles] = "changed"
	if got := a.Data(); got[MapRoles] != goodText || got["other"] != "x" || Size(got) != len(goodText)+1 {
		t.Errorf("Data() = %v", got)
	}
}

// An entry that its neighbour has swallowed breaks the key, as nobody knows whom
// it maps.
func TestSwallowedEntryBreaksKey(t *testing.T) {
	t.Parallel()
	const list = "- rolearn: arn:aws:iam::111122223333:role/Bad\n  username: bad\n  groups:\n  - a\n"
	for _, tt := range []struct {
		name, text, want string
		broken           bool
	}{
		{"a dash is lost", goodText + strings.Replace(list, "- ", "  ", 1), "(line 5): its entry has another principal before this rolearn: each entry starts with \"- \"", true},
		{"a dash is lost before sso", goodText + "  sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n  username: u\n", "another principal before this sso", true},
		{"indented under groups", list + "  " + strings.ReplaceAll(list, "\n", "\n  "), "(line 5): an entry stands among the groups", true},
		{"the same line twice", list + "  rolearn: arn:aws:iam::111122223333:role/Bad\n", "rolearn is there twice", false},
		{"ARN and sso", list + "  sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n", "either an ARN or sso", false},
		{"a group that is a mapping", list + "  - team: dev\n", "a mapping is not text", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, findings := Parse(map[string]string{MapRoles: tt.text})
			wantFinding(t, findings, Error, tt.want)
			if got := len(a.Broken()) > 0; got != tt.broken {
				t.Errorf("broken is %v", got)
			}
		})
	}
}
