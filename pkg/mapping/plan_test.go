package mapping

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Entries of the plans below: ours are capiam's, theirs another writer's.
var (
	ours   = Entry{ARN: "arn:aws:iam::111122223333:role/Ours", Username: "ours", Groups: []string{"capiam:edit"}}
	theirs = Entry{ARN: "arn:aws:iam::111122223333:role/Theirs", Username: "theirs"}
	admin  = Entry{ARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin", Groups: []string{"system:masters"}}
	alice  = Entry{ARN: "arn:aws:iam::111122223333:user/Alice", Username: "alice"}
)

const (
	oursText = `- rolearn: arn:aws:iam::111122223333:role/Ours
  username: ours
  groups:
  - capiam:edit
`
	theirsText = `# the other team's, hands off
- userNAME:   theirs   # odd, and theirs
  rolearn: 'arn:aws:iam::111122223333:role/Theirs'

  extra: [1, 2]
`
	adminText = `- rolearn: arn:aws:iam::111122223333:role/Admin
  username: admin
  groups:
  - system:masters
`
	aliceText = `- userarn: arn:aws:iam::111122223333:user/Alice
  username: alice
`
)

func roles(entries ...Entry) Mappings { return Mappings{Roles: entries} }

func with(e Entry, username string) Entry {
	e.Username = username
	return e
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		last, desired Mappings
		live, want    map[string]string
		lines         string
	}{
		{
			name: "first of all", desired: Mappings{Roles: []Entry{admin, ours}, Users: []Entry{alice}, Accounts: []string{"444455556666"}},
			want:  map[string]string{MapRoles: adminText + oursText, MapUsers: aliceText, MapAccounts: "- \"444455556666\"\n"},
			lines: "+ mapRoles Admin as admin, groups system:masters|+ mapRoles Ours as ours, groups capiam:edit|+ mapUsers Alice as alice, no groups|+ mapAccounts 444455556666",
		},
		{
			name: "nothing to do", last: roles(ours), desired: roles(ours),
			live:  map[string]string{MapRoles: theirsText + oursText, MapAccounts: "garbage", "other": "x"},
			want:  map[string]string{MapRoles: theirsText + oursText, MapAccounts: "garbage", "other": "x"},
			lines: "= mapRoles Theirs as theirs, no groups (not capiam's, stays)",
		},
		{
			name: "added after theirs", desired: roles(ours), live: map[string]string{MapRoles: theirsText, MapAccounts: "- 444455556666 # theirs\n"},
			want:  map[string]string{MapRoles: theirsText + oursText, MapAccounts: "- 444455556666 # theirs\n"},
			lines: "+ mapRoles Ours as ours, groups capiam:edit|= mapRoles Theirs as theirs, no groups (not capiam's, stays)|= mapAccounts 444455556666 (not capiam's, stays)",
		},
		{
			name: "removed between theirs", last: roles(ours, admin), desired: roles(admin),
			live:  map[string]string{MapRoles: adminText + oursText + theirsText},
			want:  map[string]string{MapRoles: adminText + theirsText},
			lines: "- mapRoles Ours as ours, groups capiam:edit|= mapRoles Theirs as theirs, no groups (not capiam's, stays)",
		},
		{
			name: "changed in its place", last: roles(ours), desired: roles(with(ours, "new")),
			live:  map[string]string{MapRoles: theirsText + oursText + "# end\n"},
			want:  map[string]string{MapRoles: theirsText + strings.Replace(oursText, "username: ours", "username: new", 1) + "# end\n"},
			lines: "~ mapRoles Ours as ours, groups capiam:edit -> as new, groups capiam:edit|= mapRoles Theirs as theirs, no groups (not capiam's, stays)",
		},
		{
			name: "changed by hand and put right", last: roles(ours), desired: roles(ours),
			live:  map[string]string{MapRoles: strings.Replace(oursText, "capiam:edit", "system:masters", 1)},
			want:  map[string]string{MapRoles: oursText},
			lines: "~ mapRoles Ours as ours, groups system:masters -> as ours, groups capiam:edit",
		},
		{
			name: "removed by hand and put back", last: roles(ours), desired: roles(ours),
			live: map[string]string{}, want: map[string]string{MapRoles: oursText},
			lines: "+ mapRoles Ours as ours, groups capiam:edit",
		},
		{
			name: "removed though changed by hand", last: roles(ours), desired: roles(),
			live: map[string]string{MapRoles: strings.Replace(oursText, "/Ours", "/p/OURS", 1) + theirsText}, want: map[string]string{MapRoles: theirsText},
			lines: "- mapRoles p/OURS as ours, groups capiam:edit|= mapRoles Theirs as theirs, no groups (not capiam's, stays)",
		},
		{
			name: "gone already", last: roles(ours, theirs), desired: roles(theirs),
			live: map[string]string{MapRoles: theirsText}, want: map[string]string{MapRoles: theirsText},
		},
		{
			name: "last one removed", last: roles(ours), desired: roles(),
			live: map[string]string{MapRoles: oursText, "other": "x"}, want: map[string]string{MapRoles: "[]\n", "other": "x"},
			lines: "- mapRoles Ours as ours, groups capiam:edit",
		},
		{
			name: "last one removed below a comment", last: roles(ours), desired: roles(),
			live: map[string]string{MapRoles: "# nobody yet\n" + oursText}, want: map[string]string{MapRoles: "# nobody yet\n[]\n"},
			lines: "- mapRoles Ours as ours, groups capiam:edit",
		},
		{
			name: "adopted", desired: roles(ours),
			live: map[string]string{MapRoles: oursText}, want: map[string]string{MapRoles: oursText},
		},
		{
			name: "taken over", desired: roles(with(theirs, "ours")),
			live:  map[string]string{MapRoles: theirsText},
			want:  map[string]string{MapRoles: "# the other team's, hands off\n- rolearn: arn:aws:iam::111122223333:role/Theirs\n  username: ours\n"},
			lines: "~ mapRoles Theirs as theirs, no groups -> as ours, no groups (taken over from another writer)",
		},
		{
			name: "taken over from another section", desired: roles(ours),
			live:  map[string]string{MapUsers: strings.Replace(oursText, "rolearn", "userarn", 1) + aliceText},
			want:  map[string]string{MapRoles: oursText, MapUsers: aliceText},
			lines: "~ mapRoles Ours as ours, groups capiam:edit (taken over from another writer)|= mapUsers Alice as alice, no groups (not capiam's, stays)",
		},
		{
			name: "another writer's second answer", last: roles(ours), desired: roles(ours),
			live:  map[string]string{MapRoles: oursText + strings.NewReplacer("/Ours", "/path/Ours", "capiam:edit", "system:masters").Replace(oursText)},
			want:  map[string]string{MapRoles: oursText},
			lines: "~ mapRoles path/Ours -> Ours as ours, groups system:masters -> as ours, groups capiam:edit (taken over from another writer)",
		},
		{
			name: "moved to its own section", last: Mappings{Roles: []Entry{alice}}, desired: Mappings{Users: []Entry{alice}},
			live: map[string]string{MapRoles: strings.Replace(aliceText, "userarn", "rolearn", 1)}, want: map[string]string{MapRoles: "[]\n", MapUsers: aliceText},
			lines: "~ mapUsers Alice as alice, no groups",
		},
		{
			name: "damaged, and healed", desired: roles(ours),
			live:  map[string]string{MapRoles: strings.Replace(oursText, "username: ours", "username: 5", 1) + "- hello\n"},
			want:  map[string]string{MapRoles: oursText + "- hello\n"},
			lines: "~ mapRoles Ours as nobody, groups capiam:edit -> as ours, groups capiam:edit (taken over from another writer)|= mapRoles (no ARN) as nobody, no groups (damaged) (not capiam's, stays)",
		},
		{
			name: "accounts", last: Mappings{Accounts: []string{"111122223333"}}, desired: Mappings{Accounts: []string{"123456789012"}},
			live:  map[string]string{MapAccounts: "- 111122223333\n- 444455556666 # theirs\n- 012345678901\n- 1\n"},
			want:  map[string]string{MapAccounts: "- 444455556666 # theirs\n- 012345678901\n- 1\n- \"123456789012\"\n"},
			lines: "+ mapAccounts 123456789012|- mapAccounts 111122223333|= mapAccounts 444455556666 (not capiam's, stays)|= mapAccounts 012345678901 (not capiam's, stays)|= mapAccounts 1 (not capiam's, stays)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live, _ := Parse(tt.live)
			p := NewPlan(tt.last, tt.desired, live)
			short := strings.NewReplacer("arn:aws:iam::111122223333:role/", "", "arn:aws:iam::111122223333:user/", "")
			if got := short.Replace(strings.Join(p.Lines(), "|")); got != tt.lines {
				t.Errorf("lines are\n%s\nwant\n%s", strings.ReplaceAll(got, "|", "\n"), strings.ReplaceAll(tt.lines, "|", "\n"))
			}
			got, err := p.Apply()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("data differs (-want +got):\n%s", diff)
			}
			checkPlan(t, tt.desired, tt.live, p)
		})
	}
}

// checkPlan checks what is true of every plan: what it says comes after is what
// the new data is read as, it holds all that is desired, and there is nothing
// left to do then.
func checkPlan(t *testing.T, desired Mappings, live map[string]string, p *Plan) {
	t.Helper()
	data, err := p.Apply()
	if err != nil {
		t.Fatal(err)
	}
	if p.Empty() {
		if diff := cmp.Diff(nonNil(live), data); diff != "" {
			t.Errorf("an empty plan changes (-was +is):\n%s", diff)
		}
	}
	a, _ := Parse(data)
	diffMappings(t, a.Mappings(), p.After())
	again := NewPlan(desired, desired, a)
	if !again.Empty() {
		t.Errorf("applied, and still to do: %v", again.Lines())
	}
	if len(again.Foreign) != len(p.Foreign) {
		t.Errorf("foreign: %v before, %v after", p.Foreign, again.Foreign)
	}
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func TestPlanWithoutConfigMap(t *testing.T) {
	t.Parallel()
	p := NewPlan(Mappings{}, roles(ours), nil)
	got, err := p.Apply()
	if err != nil || got[MapRoles] != oursText || p.Empty() {
		t.Errorf("Apply = %v, %v", got, err)
	}
	if p := NewPlan(Mappings{}, Mappings{}, nil); !p.Empty() {
		t.Errorf("to do: %v", p.Lines())
	}
}

func TestPlanRefusesBrokenKeys(t *testing.T) {
	t.Parallel()
	live, _ := Parse(map[string]string{MapRoles: oursText + "- [", MapUsers: aliceText})
	for name, p := range map[string]*Plan{
		"to add":    NewPlan(Mappings{}, roles(admin), live),
		"to remove": NewPlan(roles(ours), Mappings{}, live),
		"to keep":   NewPlan(roles(ours), roles(ours), live),
	} {
		data, err := p.Apply()
		if !errors.Is(err, ErrBrokenKey) || data != nil {
			t.Errorf("%s: Apply = %v, %v", name, data, err)
		}
		for _, want := range []string{"mapRoles", "line ", "kubectl -n kube-system edit configmap aws-auth"} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if p.Empty() || len(p.Added)+len(p.Removed) > 0 || !strings.HasPrefix(p.Lines()[0], "! mapRoles cannot be read") {
			t.Errorf("%s: lines %v", name, p.Lines())
		}
	}
	// A broken key that is nobody's business is left alone.
	p := NewPlan(Mappings{}, Mappings{Users: []Entry{with(alice, "al")}}, live)
	data, err := p.Apply()
	if err != nil || data[MapRoles] != oursText+"- [" || !strings.Contains(data[MapUsers], "username: al\n") {
		t.Errorf("Apply = %v, %v", data, err)
	}
}

func TestPlanOfATableInUse(t *testing.T) {
	t.Parallel()
	// What stands in for a damaged entry is not in the text, and is not
	// written.
	first, _ := Parse(map[string]string{MapRoles: oursText + adminText})
	live, _ := ParseWithLastGood(map[string]string{MapRoles: strings.Replace(oursText, "username: ours", "username: 5", 1)}, first)
	p := NewPlan(Mappings{}, roles(admin), live)
	got, err := p.Apply()
	if err != nil || got[MapRoles] != strings.Replace(oursText, "username: ours", "username: 5", 1)+adminText {
		t.Errorf("Apply = %v, %v", got, err)
	}
	broken, _ := ParseWithLastGood(map[string]string{MapRoles: "- ["}, first)
	diffMappings(t, NewPlan(Mappings{}, Mappings{}, broken).After(), roles(ours, admin))
}

func TestPlanLayouts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, live, want string }{
		{"no line break at the end", strings.TrimSuffix(theirsText, "\n"), theirsText + "+"},
		{"dash on its own line", "-\n  # who\n  rolearn: " + theirs.ARN + "\n  username: theirs\n", "-\n  # who\n  rolearn: " + theirs.ARN + "\n  username: theirs\n" + "+"},
		{"documents", "---\n" + theirsText + "---\n- not read\n", "---\n" + theirsText + "+" + "---\n- not read\n"},
		{"document end", theirsText + "...\n", theirsText + "+" + "...\n"},
		{"empty list", "[]\n", "+"},
		{"empty list below a comment", "# none\n[]\n", "# none\n+"},
		{"quotes for nothing", "``", "+"},
		{"comment", "# none", "# none\n+"},
		{"empty documents", "---\n---\n- not read\n", "---\n+---\n- not read\n"},
		{"text block", "- rolearn: " + theirs.ARN + "\n  username: |-\n    a\n    # b\n\n    - c\n", "- rolearn: " + theirs.ARN + "\n  username: |-\n    a\n    # b\n\n    - c\n" + "+"},
		{"JSON", `[{"rolearn": "` + theirs.ARN + `", "username": "theirs", "x": 1}]`, "- {\"rolearn\": \"" + theirs.ARN + "\", \"username\": \"theirs\", \"x\": 1}\n+"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live, _ := Parse(map[string]string{MapRoles: tt.live})
			p := NewPlan(Mappings{}, roles(ours), live)
			got, err := p.Apply()
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(tt.want, "+", oursText, 1); got[MapRoles] != want {
				t.Errorf("got\n%s\nwant\n%s", got[MapRoles], want)
			}
			// And out again.
			live, _ = Parse(got)
			back, err := NewPlan(roles(ours), Mappings{}, live).Apply()
			if err != nil {
				t.Fatal(err)
			}
			left := ""
			if !strings.Contains(tt.want, theirs.ARN) {
				left = "[]\n" // nobody is meant
			}
			if want := strings.Replace(tt.want, "+", left, 1); back[MapRoles] != want {
				t.Errorf("back again\n%s\nwant\n%s", back[MapRoles], want)
			}
		})
	}
}

func TestPlanKeepsIndentation(t *testing.T) {
	t.Parallel()
	text := "  - rolearn: " + theirs.ARN + "\n    username: theirs\n"
	live, _ := Parse(map[string]string{MapRoles: text})
	got, err := NewPlan(Mappings{}, roles(ours), live).Apply()
	want := text + "  " + strings.TrimSuffix(strings.ReplaceAll(oursText, "\n", "\n  "), "  ")
	if err != nil || got[MapRoles] != want {
		t.Errorf("Apply = %q, %v; want %q", got[MapRoles], err, want)
	}
}

func TestPlanKeepsCRLF(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(theirsText, "\n", "\r\n")
	live, _ := Parse(map[string]string{MapRoles: text})
	got, err := NewPlan(Mappings{}, roles(ours), live).Apply()
	if want := text + strings.ReplaceAll(oursText, "\n", "\r\n"); err != nil || got[MapRoles] != want {
		t.Errorf("Apply = %q, %v", got[MapRoles], err)
	}
}

func TestPlanKeepsWhatAnchorsMean(t *testing.T) {
	t.Parallel()
	// The anchor goes with our entry, so theirs must be written out.
	text := strings.Replace(oursText, "groups:\n", "groups: &g\n", 1) + "- rolearn: " + theirs.ARN + "\n  username: theirs\n  groups: *g # same\n"
	live, findings := Parse(map[string]string{MapRoles: text})
	wantFinding(t, findings, 0, "")
	p := NewPlan(roles(ours), Mappings{}, live)
	got, err := p.Apply()
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := Parse(got); len(a.Mappings().Roles) != 1 || len(a.Mappings().Roles[0].Groups) != 1 {
		t.Errorf("got\n%s", got[MapRoles])
	}
	checkPlan(t, Mappings{}, map[string]string{MapRoles: text}, p)
}

func TestPlanRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	live, _ := Parse(map[string]string{MapRoles: "[{rolearn: " + theirs.ARN + ", username: theirs}]\n---\n- x\n"})
	if data, err := NewPlan(Mappings{}, roles(ours), live).Apply(); err == nil || !strings.Contains(err.Error(), "several YAML documents") {
		t.Errorf("Apply = %v, %v", data, err)
	}
	live, _ = Parse(map[string]string{"big": strings.Repeat("x", MaxConfigMapBytes)})
	if data, err := NewPlan(Mappings{}, roles(ours), live).Apply(); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("Apply = %d keys, %v", len(data), err)
	}
}
