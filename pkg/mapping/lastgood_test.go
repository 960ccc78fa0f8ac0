package mapping

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A section that is gone without a word is to be told from one that is meant to
// be empty.
func TestEmptied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		data map[string]string
		want string
	}{
		{"nothing", nil, "mapRoles mapUsers mapAccounts"},
		{"removed", map[string]string{MapUsers: "[]", MapAccounts: "- \"111122223333\""}, MapRoles},
		{"blank", map[string]string{MapRoles: " \n", MapUsers: "[]", MapAccounts: "[]"}, MapRoles},
		{"comments", map[string]string{MapRoles: "# - a\n", MapUsers: "[]", MapAccounts: "[]"}, MapRoles},
		{"null", map[string]string{MapRoles: "~", MapUsers: "[] # nobody", MapAccounts: "---\n[]\n"}, MapRoles},
		{"quotes", map[string]string{MapRoles: "''", MapUsers: "[]", MapAccounts: "[]"}, MapRoles},
		{"all damaged", map[string]string{MapRoles: "- hello\n", MapUsers: "[]", MapAccounts: "- 5"}, "mapRoles mapAccounts"},
		{"not YAML", map[string]string{MapRoles: "- [", MapUsers: "[]", MapAccounts: "[]"}, ""},
		{"misspelt", map[string]string{"maproles": goodText, "mapUser": goodText, "mapAcounts": "- 5"}, ""},
		{"misspelt, and never meant anything", map[string]string{"maproles": "", "mapUser": "# none", "mapAcounts": "[]"}, "mapRoles mapUsers mapAccounts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, _ := Parse(tt.data)
			if got := strings.Join(a.Emptied(), " "); got != tt.want {
				t.Errorf("Emptied() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMisspeltKeyKeepsLastGood(t *testing.T) {
	t.Parallel()
	last, _ := Parse(map[string]string{MapRoles: goodText})
	for _, key := range []string{"maproles", "MapRoles", "mapRole", "mapRolse", "map_roles", "map-roles", "mapRools"} {
		a, findings := ParseWithLastGood(map[string]string{key: badWas, MapUsers: "[]"}, last)
		diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good}})
		wantFinding(t, findings, Error, key+": not read: the key is spelled mapRoles; the last good one stays in force")
		if got := a.Broken(); !slices.Equal(got, []string{MapRoles}) {
			t.Errorf("%s: Broken() = %v", key, got)
		}
		// Beside the right one it takes nobody's access away.
		a, findings = ParseWithLastGood(map[string]string{key: goodText, MapRoles: badWas}, last)
		diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{bad}})
		if len(findings) != 1 || strings.EqualFold(key, MapRoles) != (findings[0].Severity == Error) {
			t.Errorf("%s beside the right one: %v", key, findings)
		}
	}
	for _, key := range []string{"roles", "mapGroups", "mapRolesOld", "notes", "", strings.Repeat("mapRoles", 1000)} {
		a, findings := ParseWithLastGood(map[string]string{key: goodText}, last)
		wantFinding(t, findings, Warning, "unknown key, not read")
		if len(a.Broken()) > 0 || len(a.Emptied()) != 3 {
			t.Errorf("%q: broken %v, emptied %v", key, a.Broken(), a.Emptied())
		}
	}
}

// An entry that loses its groups by a mistake keeps them; one that is to have
// none has none.
func TestLostGroups(t *testing.T) {
	t.Parallel()
	const head = "- rolearn: arn:aws:iam::111122223333:role/Bad\n  username: bad\n"
	none := Entry{ARN: bad.ARN, Username: "bad"}
	for _, tt := range []struct {
		name, fields string
		want         Entry
		says         string
	}{
		{"misspelt", "  group: [a, b]\n", bad, `the field "group" is unknown: write groups: [] if none are meant; the last good one stays in force`},
		{"misspelt otherwise", "  Gruops: [a, b]\n", bad, `the field "Gruops" is unknown`},
		{"another field", "  note: x\n", none, ""},
		{"nothing after it", "  groups:\n", bad, `"groups" has nothing after it`},
		{"nothing after it, and another field", "  note: x\n  groups: ~\n", bad, `"groups" has nothing after it`},
		{"misspelt, and a new name", "  group: [c]\n  userName: x\n", bad, "userName is there twice"},
		{"none are meant", "  groups: []\n", none, ""},
		{"none are meant, and another field", "  groups: []\n  note: x\n", none, ""},
		{"the field is removed", "", none, ""},
		{"another field, and others", "  note: x\n  groups: [c]\n", Entry{ARN: bad.ARN, Username: "bad", Groups: []string{"c"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			last, _ := Parse(map[string]string{MapRoles: goodText + badWas})
			for range 2 { // also when the last good one is itself one that was kept
				a, findings := ParseWithLastGood(map[string]string{MapRoles: goodText + head + tt.fields}, last)
				diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good, tt.want}})
				if tt.says != "" {
					wantFinding(t, findings, Error, tt.says)
					last = a
				}
			}
			// Who never had groups is not damaged.
			plain, _ := Parse(map[string]string{MapRoles: goodText + head})
			a, _ := ParseWithLastGood(map[string]string{MapRoles: goodText + head + tt.fields}, plain)
			if got := a.Mappings().Roles; len(got) != 2 {
				t.Errorf("without groups before: %v", got)
			}
		})
	}
}

func TestListedWithLastGood(t *testing.T) {
	t.Parallel()
	all := []string{MapRoles, MapUsers, MapAccounts}
	two := Mappings{Roles: []Entry{good, bad}}
	last, findings := Listed{Mappings: two, Sections: all}.WithLastGood(nil)
	wantFinding(t, findings, 0, "")
	diffMappings(t, last.Mappings(), two)
	for _, tt := range []struct {
		name string
		now  Listed
		want []Entry
		says string
	}{
		{"gone is gone", Listed{Mappings: Mappings{Roles: []Entry{good}}, Sections: all}, []Entry{good}, ""},
		{"junk ARN", Listed{Mappings: Mappings{Roles: []Entry{good, {ARN: "junk", Username: "bad"}}}, Sections: all}, two.Roles, "mapRoles[1].arn: "},
		{"no username", Listed{Mappings: Mappings{Roles: []Entry{good, {ARN: bad.ARN}}}, Sections: all}, two.Roles, "mapRoles[1].username: missing"},
		{"empty group", Listed{Mappings: Mappings{Roles: []Entry{good, {ARN: bad.ARN, Username: "bad", Groups: []string{""}}}}, Sections: all}, two.Roles, "mapRoles[1].groups[0]: empty"},
		{"lost groups", Listed{Mappings: Mappings{Roles: []Entry{good, {ARN: bad.ARN, Username: "bad"}}}, Sections: all, LostBy: map[string]map[int]string{MapRoles: {1: "group"}}}, two.Roles, `the field "group" is unknown`},
		{"misspelt", Listed{Others: []string{"mapRols", "Notes"}}, two.Roles, "the key is spelled mapRoles; the last good one stays in force"},
		{"damaged and new", Listed{Mappings: Mappings{Roles: []Entry{good, {ARN: roleR}}}, Sections: all}, []Entry{good, {ARN: roleR}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := last
			for range 2 {
				a, findings := tt.now.WithLastGood(before)
				diffMappings(t, a.Mappings(), Mappings{Roles: tt.want})
				if tt.says == "" {
					wantFinding(t, findings, 0, "")
				} else {
					wantFinding(t, findings, Error, tt.says)
				}
				before = a
			}
		})
	}
}

// In a table that goes by user ID, the ID is what an entry is found again by, and
// one that was never good is not a last good one.
func TestListedStrict(t *testing.T) {
	t.Parallel()
	listed := func(entries ...Entry) Listed {
		return Listed{Mappings: Mappings{Roles: entries}, Sections: []string{MapRoles}, StrictUserID: true}
	}
	one, junk := Entry{UserID: "AROA1", Username: "one"}, Entry{UserID: "AROA2", Username: "two", ARN: "junk"}
	first, findings := listed(one, junk).WithLastGood(nil)
	wantFinding(t, findings, 0, "")
	diffMappings(t, first.Mappings(), Mappings{Roles: []Entry{one, junk}}) // the index makes a block of it
	again, findings := listed(Entry{UserID: "AROA1"}, junk).WithLastGood(first)
	diffMappings(t, again.Mappings(), Mappings{Roles: []Entry{one, junk}})
	if len(findings) != 1 || !strings.Contains(findings[0].String(), "mapRoles[0].username: missing or empty; the last good one") {
		t.Errorf("findings %v", findings)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	live := map[string]string{MapRoles: goodText, MapUsers: "# none", "other": "y"}
	got := Replace(live, map[string]string{"other": "x"})
	if got[MapRoles] != "[]\n" || len(got) != 2 || got["other"] != "x" {
		t.Errorf("got %v", got)
	}
	if got := Replace(live, map[string]string{MapRoles: badWas}); len(got) != 1 || got[MapRoles] != badWas {
		t.Errorf("got %v", got)
	}
	if got := Replace(live, nil); got[MapRoles] != "[]\n" {
		t.Errorf("got %v", got)
	}
	a, _ := Parse(Replace(live, nil))
	if e := a.Emptied(); slices.Contains(e, MapRoles) {
		t.Errorf("emptied: %v", e)
	}
}

// An entry that is edited to name one session, which aws-auth cannot, goes on
// naming the role.
func TestSessionKeepsLastGood(t *testing.T) {
	t.Parallel()
	last, _ := Parse(map[string]string{MapRoles: goodText + badWas})
	now := goodText + strings.Replace(badWas, "iam::111122223333:role/Bad", "sts::111122223333:assumed-role/Bad/session", 1)
	a, findings := ParseWithLastGood(map[string]string{MapRoles: now}, last)
	diffMappings(t, a.Mappings(), Mappings{Roles: []Entry{good, bad}})
	wantFinding(t, findings, Error, "mapRoles[1].arn (line 5): not used: it names one session of a role")
	wantFinding(t, findings, Error, "the last good one stays in force")
}

// What was damaged before, and not stood in for, is nobody that is taken out now.
func TestOldDamageStandsForNobody(t *testing.T) {
	t.Parallel()
	entry := func(name, username string) string {
		return "- rolearn: \"arn:aws:iam::111122223333:role/" + name + "\"\n  username: " + username + "\n"
	}
	for _, tt := range []struct{ name, before, now, want, emptied string }{
		{"by its username", entry("Alice", "admin") + entry("Bob ", "admin"), entry("Bob ", "admin"), "", ""},
		{"by its place", entry("A", "a") + entry("B", "b") + "- {}\n", entry("A", "a") + "- {}\n", "A", ""},
		{"by its place, at the beginning", "- {}\n" + entry("A", "a") + entry("B", "b"), "- {}\n" + entry("B", "b"), "B", ""},
		{"another is damaged too", entry("A", "a") + entry("B", "b") + "- {}\n", entry("A", "a") + "- {}\n- {}\n", "A B", ""},
		{"all that is left is new damage", entry("A", "a") + entry("Bob ", "b"), "- {}\n- 5\n- 6\n", "", MapRoles},
		{"what stood in goes on", entry("A", "a") + entry("B", "b"), "- {}\n" + entry("B", "b"), "A B", ""},
	} {
		last, _ := Parse(map[string]string{MapRoles: tt.before, MapUsers: "[]", MapAccounts: "[]"})
		for range 2 {
			a, _ := ParseWithLastGood(map[string]string{MapRoles: tt.now, MapUsers: "[]", MapAccounts: "[]"}, last)
			var got []string
			for _, e := range a.Mappings().Roles {
				got = append(got, strings.TrimPrefix(e.ARN, "arn:aws:iam::111122223333:role/"))
			}
			if strings.Join(got, " ") != tt.want || strings.Join(a.Emptied(), " ") != tt.emptied {
				t.Errorf("%s: in force: %q, want %s; emptied %v", tt.name, got, tt.want, a.Emptied())
			}
			if tt.emptied != "" {
				a.Keep(tt.emptied, last)
				if n := a.InForce(tt.emptied); n != 1 {
					t.Errorf("%s: %d are kept", tt.name, n)
				}
			}
			last = a
		}
	}
}

// A username that several principals share names none of them: one whose ARN is
// damaged is found by its place, and one that was taken out stays out.
func TestSharedUsernameStandsForNobody(t *testing.T) {
	t.Parallel()
	entry := func(name string) string {
		return "- rolearn: \"arn:aws:iam::111122223333:role/" + name + "\"\n  username: admin\n"
	}
	last, _ := Parse(map[string]string{MapRoles: entry("Alice") + entry("Bob")})
	for _, tt := range []struct{ name, now, want string }{
		{"a new one beside who stays", entry("Bob") + entry("Carol "), "Bob"},
		{"one in her place", entry("Alice ") + entry("Bob"), "Alice Bob"},
		{"in a new order", entry("Bob") + entry("Alice "), "Bob"},
	} {
		a, findings := ParseWithLastGood(map[string]string{MapRoles: tt.now}, last)
		var got []string
		for _, e := range a.Mappings().Roles {
			got = append(got, strings.TrimPrefix(e.ARN, "arn:aws:iam::111122223333:role/"))
		}
		if strings.Join(got, " ") != tt.want || len(findings) != 1 {
			t.Errorf("%s: in force: %q, want %s; findings %v", tt.name, got, tt.want, findings)
		}
	}
}

// What a table of nothing but damage costs grows with it, and not with its
// square.
func BenchmarkDamaged(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		last, _ := Parse(map[string]string{MapRoles: strings.Repeat("- rolearn: []\n", n)})
		data := map[string]string{MapRoles: strings.Repeat("- {}\n", n)}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				ParseWithLastGood(data, last)
			}
		})
	}
}
