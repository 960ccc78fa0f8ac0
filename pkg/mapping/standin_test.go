package mapping

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/capiam/capiam/pkg/iam"
)

// mapped is an entry of aws-auth for a role's name, or for what starts with
// "user/" under mapUsers.
func mapped(name, username string, groups ...string) string {
	field, kind := "rolearn", "role/"
	if strings.HasPrefix(name, "user/") {
		field, kind = "userarn", ""
	}
	text := "- " + field + ": \"arn:aws:iam::111122223333:" + kind + name + "\"\n  username: " + username + "\n"
	if len(groups) > 0 {
		text += "  groups: [" + strings.Join(groups, ", ") + "]\n"
	}
	return text
}

// whoIs returns the username and groups of a role, or of a user if the name starts
// with "user/".
func whoIs(t *testing.T, a *AWSAuth, name string) string {
	t.Helper()
	if !strings.HasPrefix(name, "user/") {
		name = "role/" + name
	}
	arn, err := iam.ParseARN("arn:aws:iam::111122223333:" + name)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := NewIndex([]Source{{Name: BackendEKSConfigMap, Mappings: a.Mappings()}}, IndexOptions{Partition: "aws"})
	m, ok := x.Lookup(arn)
	if !ok || m.AccountFallback {
		return "nobody"
	}
	said := []string{m.Username.String()}
	for _, g := range m.Groups {
		said = append(said, g.String())
	}
	return strings.Join(said, " ")
}

// What a table becomes by several changes, one after the other. Each of the
// results must be the same if the last state is judged again, and after a restart.
func TestStandIn(t *testing.T) {
	t.Parallel()
	roles := func(text string) map[string]string { return map[string]string{MapRoles: text} }
	const sso = "- sso: {permissionSetName: Admin, accountID: \"111122223333\"}\n  username: u\n  groups: [g]\n"
	const ssoRole = "AWSReservedSSO_Admin_0123456789abcdef"
	misspelt := func(entry string) string { return strings.Replace(entry, "groups", "group", 1) }
	was := roles(mapped("Alice", "admin", "system:masters"))
	three := roles(mapped("A", "x", "g") + mapped("B", "x", "system:masters") + mapped("C", "x", "g"))
	moved := roles(mapped("user/U", "u", "system:masters"))
	moved[MapRoles] = strings.Replace(moved[MapRoles], "userarn", "rolearn", 1)
	toUsers := func(roles string) map[string]string {
		return map[string]string{MapRoles: roles, MapUsers: mapped("user/U", "u", "view")}
	}
	both := map[string]string{MapRoles: moved[MapRoles], MapUsers: mapped("user/U", "u", "view")}
	bothReversed := map[string]string{MapRoles: strings.Replace(moved[MapRoles], "system:masters", "view", 1), MapUsers: mapped("user/U", "u", "system:masters")}
	dup := roles(mapped("A", "a", "system:masters") + mapped("A", "a", "view"))
	grants := roles(mapped("A", "a", "view") + mapped("A", "a", "system:masters"))
	elsewhere := func(entry string) string { return strings.Replace(entry, "111122223333", "444455556666", 1) }
	beside := roles(mapped("C", "c") + mapped("Alice", "admin", "system:masters"))
	const session = "- rolearn: arn:aws:sts::111122223333:assumed-role/S/s\n  username: s\n"
	named := roles(mapped("A", "m", "system:masters") + mapped("A", "v", "view"))
	for _, tt := range []struct {
		name   string
		states []map[string]string
		who    string
		want   string
	}{
		// Of two entries for one principal the later counts, damaged or not.
		{"the one that counts is damaged", []map[string]string{dup, roles(mapped("A", "a", "system:masters") + mapped("A", "5", "view"))}, "A", "a view"},
		{"the one that counts loses its groups", []map[string]string{dup, roles(mapped("A", "a", "system:masters") + misspelt(mapped("A", "a", "view")))}, "A", "a view"},
		{"the one that counts has no path", []map[string]string{
			roles(mapped("A", "a", "view") + mapped("team/A", "a", "system:masters")),
			roles(mapped("A", "5", "view") + mapped("team/A", "a", "system:masters")),
		}, "A", "a view"},
		{"the granting one is gone", []map[string]string{grants, roles(mapped("A", "5", "view"))}, "A", "a view"},
		{"the other one is changed, and this one unreadable", []map[string]string{grants, roles(mapped("A", "a", "dev") + mapped("A", "5", "[]"))}, "A", "a system:masters"},
		{"the ARN of the one that counts is damaged", []map[string]string{named, roles(mapped("A", "m", "system:masters") + mapped("A ", "v", "view"))}, "A", "v view"},
		{"one that did not count is guessed", []map[string]string{named, roles(mapped("A", "v", "view") + "- rolearn: junk\n  username: m\n")}, "A", "v view"},
		{"only one that did not count is left", []map[string]string{
			roles(mapped("A", "u", "view") + mapped("A", "w", "system:masters")),
			roles(mapped("A ", "u", "view")), roles(mapped("A ", "u", "view")),
		}, "A", "u view"},
		{"a good one is added", []map[string]string{was, roles(mapped("Alice", "admin", "view") + mapped("Alice", "5"))}, "Alice", "admin view"},

		// A damaged ARN that names somebody else stands for nobody.
		{"replaced, by its username", []map[string]string{was, roles(mapped("Dave ", "admin", "system:masters"))}, "Alice", "nobody"},
		{"replaced, and an account of eleven digits", []map[string]string{was, roles(strings.Replace(mapped("Dave", "admin"), "111122223333", "11112222333", 1))}, "Alice", "nobody"},
		{"replaced by a session", []map[string]string{was, roles("- rolearn: arn:aws:sts::1:assumed-role/Dave/Alice\n  username: admin\n")}, "Alice", "nobody"},
		{"replaced by what stands in the wrong field", []map[string]string{was, roles("- userarn: arn:aws:iam::111122223333:user/Dave\n  username: admin\n")}, "Alice", "nobody"},
		{"replaced, by its place", []map[string]string{three, roles(mapped("A", "x", "g") + mapped("Dave ", "x", "system:masters") + mapped("C", "x", "g"))}, "B", "nobody"},
		{"replaced by a permission set", []map[string]string{roles(mapped("Z", "z") + sso), roles(mapped("Z", "z") + strings.NewReplacer("Admin", "View", "111122223333", "1").Replace(sso))}, ssoRole, "nobody"},
		{"replaced by the same name in another account", []map[string]string{
			roles(mapped("X", "u") + mapped("Alice", "u", "system:masters")), roles(mapped("X", "u") + elsewhere(mapped("Alice ", "u", "system:masters"))),
		}, "Alice", "nobody"},
		{"replaced by a user of the name", []map[string]string{beside, roles(mapped("C", "c") + strings.Replace(mapped("Alice ", "admin"), "role/", "user/", 1))}, "Alice", "nobody"},
		{"replaced, and a slash too many", []map[string]string{beside, roles(mapped("C", "c") + mapped("Dave/", "admin"))}, "Alice", "nobody"},
		{"replaced, and a colon for the slash", []map[string]string{beside, roles(mapped("C", "c") + strings.Replace(mapped("Dave", "admin"), "role/", "role:", 1))}, "Alice", "nobody"},
		{"replaced, and a colon lost", []map[string]string{beside, roles(mapped("C", "c") + strings.Replace(mapped("Dave", "admin"), "iam::", "iam:", 1))}, "Alice", "nobody"},
		{"replaced by the permission set in another account", []map[string]string{roles(mapped("Z", "z") + sso), roles(mapped("Z", "z") + strings.Replace(elsewhere(sso), "\"}", "\", partition: awss}", 1))}, ssoRole, "nobody"},
		{"the same name, and a colon for the slash", []map[string]string{beside, roles(mapped("C", "c") + strings.Replace(mapped("Alice", "admin"), "role/", "role:", 1))}, "Alice", "admin system:masters"},
		{"the same name, and nothing of the kind", []map[string]string{beside, roles(mapped("C", "c") + strings.Replace(mapped("Alice", "admin"), "role/", "rol/", 1))}, "Alice", "admin system:masters"},
		{"beside one that was never good", []map[string]string{
			roles(mapped("A", "x") + mapped("B", "5") + mapped("C", "x")), roles("- {}\n" + mapped("B", "5") + mapped("C", "x")),
		}, "A", "x"},
		{"beside one that was never used", []map[string]string{
			roles(mapped("A", "x") + session + mapped("C", "x")), roles("- {}\n" + session + mapped("C", "x")),
		}, "A", "x"},
		{"the one that does not count is mended", []map[string]string{
			roles(mapped("B", "v", "system:masters") + mapped("A", "v") + mapped("B", "u", "view")),
			roles(mapped("B ", "v", "system:masters") + mapped("A", "v") + mapped("B", "u", "view")),
			roles(mapped("B ", "v", "system:masters") + mapped("A", "v") + misspelt(mapped("B", "u", "view"))),
			roles(mapped("B", "v", "system:masters") + mapped("A", "v") + misspelt(mapped("B", "u", "view"))),
		}, "B", "u view"},
		{"the same name with a blank", []map[string]string{was, roles(mapped("Alice ", "admin", "system:masters"))}, "Alice", "admin system:masters"},
		{"the same name in an account of eleven digits", []map[string]string{was, roles("- rolearn: arn:aws:iam::11112222333:role/team/alice\n  username: admin\n")}, "Alice", "admin system:masters"},
		{"a session of the same", []map[string]string{was, roles("- rolearn: arn:aws:sts::1:assumed-role/Alice/s\n  username: admin\n")}, "Alice", "admin system:masters"},
		{"the same name, by its place", []map[string]string{three, roles(mapped("A", "x", "g") + mapped("B ", "x", "g") + mapped("C", "x", "g"))}, "B", "x system:masters"},
		{"the one who came between", []map[string]string{was, roles(mapped("Dave", "admin")), roles(mapped("Dave ", "admin"))}, "Alice", "nobody"},
		{"the one who came between stays", []map[string]string{was, roles(mapped("Dave", "admin")), roles(mapped("Dave ", "admin"))}, "Dave", "admin"},

		// Who is moved to the other key has what that says.
		{"moved, and the key is gone", []map[string]string{moved, {MapUsers: mapped("user/U", "u", "view")}}, "user/U", "u view"},
		{"moved, and the key is not YAML", []map[string]string{moved, toUsers("- {\n")}, "user/U", "u view"},
		{"moved, and only nonsense is left", []map[string]string{moved, toUsers("- hello\n")}, "user/U", "u view"},
		{"moved, and the username is used again", []map[string]string{moved, toUsers(mapped("Dave ", "u"))}, "user/U", "u view"},
		{"moved, and does not come back", []map[string]string{moved, toUsers("- {\n"), {MapRoles: "- {\n", MapUsers: "[]"}}, "user/U", "nobody"},
		{"in both, and the key is not YAML", []map[string]string{both, toUsers("- {\n")}, "user/U", "u system:masters"},
		{"in both, and the first is damaged", []map[string]string{bothReversed, {MapRoles: strings.Replace(bothReversed[MapRoles], "u\"\n  username: u", "U\"\n  username: 5", 1), MapUsers: bothReversed[MapUsers]}}, "user/U", "u view"},

		// An entry that its neighbour swallows is not gone.
		{"a dash is lost", []map[string]string{roles(mapped("A", "a") + mapped("B", "b")), roles(mapped("A", "a") + strings.Replace(mapped("B", "b"), "- ", "  ", 1))}, "B", "b"},
		{"a dash is lost before a permission set", []map[string]string{roles(mapped("A", "a") + sso), roles(mapped("A", "a") + strings.Replace(sso, "- ", "  ", 1))}, ssoRole, "u g"},
		{"indented under groups", []map[string]string{
			roles("- rolearn: " + roleR + "\n  username: r\n  groups:\n  - g\n" + mapped("B", "b")),
			roles("- rolearn: " + roleR + "\n  username: r\n  groups:\n  - g\n  " + strings.ReplaceAll(mapped("B", "b"), "\n", "\n  ") + "\n"),
		}, "B", "b"},
		{"an unknown partition", []map[string]string{roles(mapped("Z", "z") + sso), roles(mapped("Z", "z") + strings.Replace(sso, "\"}", "\", partition: awss}", 1))}, ssoRole, "u g"},

		// The same text comes to the same.
		{"two that read the same", []map[string]string{
			roles(mapped("A", "u") + mapped("D", "d") + mapped("D", "d")),
			roles(strings.Repeat("- rolearn: junk\n  username: u\n", 2) + mapped("D", "d") + mapped("D", "d")),
		}, "A", "u"},
		{"two that read the same, and another is added", []map[string]string{
			roles(mapped("A", "u") + mapped("D", "d")),
			roles(mapped("D", "d") + strings.Repeat("- rolearn: junk\n  username: u\n", 2)),
			roles(mapped("E", "e") + mapped("D", "d") + strings.Repeat("- rolearn: junk\n  username: u\n", 2)),
		}, "A", "u"},
		{"groups are lost beside a good one", []map[string]string{was, roles(misspelt(mapped("Alice", "admin", "x")) + "\n" + mapped("Alice", "admin"))}, "Alice", "admin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var last *AWSAuth
			for _, data := range tt.states {
				last = judge(t, data, last)
			}
			if got := whoIs(t, last, tt.who); got != tt.want {
				t.Errorf("%s is %s, want %s", tt.who, got, tt.want)
			}
			judgeAgain(t, tt.states[len(tt.states)-1], last)
		})
	}
}

// judge is ParseWithLastGood, with nobody meant under mapUsers and mapAccounts where
// the data has none.
func judge(t *testing.T, data map[string]string, last *AWSAuth) *AWSAuth {
	t.Helper()
	data = maps.Clone(data)
	for _, key := range []string{MapUsers, MapAccounts} {
		if _, there := data[key]; !there {
			data[key] = "[]"
		}
	}
	a, _ := ParseWithLastGood(data, last)
	return a
}

// judgeAgain checks that a text that is judged again comes to the same, also after
// a restart.
func judgeAgain(t *testing.T, data map[string]string, is *AWSAuth) {
	t.Helper()
	again := judge(t, data, is)
	if diff := cmp.Diff(is.Mappings(), again.Mappings(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("judged again (-was +is):\n%s", diff)
	}
	for _, a := range []*AWSAuth{is, again} {
		restored, err := Restore(a.Saved())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(is.Mappings(), restored.Mappings(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("restored (-was +is):\n%s", diff)
		}
		if diff := cmp.Diff(is.Mappings(), judge(t, data, restored).Mappings(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("judged after a restart (-was +is):\n%s", diff)
		}
	}
}

// A key that is kept for its grace time does not bring back who was moved.
func TestKeepLeavesOutWhoWasMoved(t *testing.T) {
	t.Parallel()
	user := strings.Replace(mapped("user/U", "u", "system:masters"), "userarn", "rolearn", 1)
	last := judge(t, map[string]string{MapRoles: user + mapped("A", "a")}, nil)
	for _, emptied := range []string{"", "# nobody", "- hello\n- 5\n- 6\n"} {
		before := last
		data := map[string]string{MapRoles: emptied, MapUsers: mapped("user/U", "u", "view")}
		for range 2 {
			a := judge(t, data, before)
			a.Keep(MapRoles, before)
			if u, other := whoIs(t, a, "user/U"), whoIs(t, a, "A"); u != "u view" || other != "a" {
				t.Errorf("%q: U is %s, A is %s", emptied, u, other)
			}
			before = a
		}
		after := judge(t, map[string]string{MapRoles: emptied, MapUsers: "[]"}, before)
		after.Keep(MapRoles, before)
		if u := whoIs(t, after, "user/U"); u != "nobody" {
			t.Errorf("%q: taken out again, U is %s", emptied, u)
		}
	}
}

func TestAccountsStandIn(t *testing.T) {
	t.Parallel()
	const one, two, three = "- \"111122223333\"\n", "- \"444455556666\"\n", "- \"777788889999\"\n"
	for _, tt := range []struct{ name, now, want string }{
		{"a digit is lost", "- \"11112222333\"\n" + two, "111122223333 444455556666"},
		{"a number that is none", one + "- 4.44455556666e+11\n", "111122223333 444455556666"},
		{"nonsense", one + "- {}\n", "111122223333 444455556666"},
		{"all of them", "- \"11112222333\"\n- \"44445555666\"\n", "111122223333 444455556666"},
		{"another one", "- \"77778888999\"\n" + two, "444455556666"},
		{"another one, with dashes", "- 7777-8888-9999\n" + two, "444455556666"},
		{"another one, with a blank", "- \"777788889999 \"\n" + two, "444455556666"},
		{"another one, as an ARN", "- arn:aws:iam::777788889999:root\n" + two, "444455556666"},
		{"with dashes", "- 1111-2222-3333\n" + two, "111122223333 444455556666"},
		{"far too long", "- \"1111222233334444\"\n" + two, "444455556666"},
		{"gone", two, "444455556666"},
		{"gone, and another is new", two + "- \"11112222333\"\n", "444455556666"},
		{"beside a new one", three + "- \"11112222333\"\n" + two, "777788889999 444455556666"},
	} {
		last := judge(t, map[string]string{MapRoles: "[]", MapAccounts: one + two}, nil)
		data := map[string]string{MapRoles: "[]", MapAccounts: tt.now}
		a := judge(t, data, last)
		if got := strings.Join(a.Mappings().Accounts, " "); got != tt.want {
			t.Errorf("%s: in force: %q, want %s", tt.name, got, tt.want)
		}
		judgeAgain(t, data, a)
	}
}

// What is saved of a table may be larger than a ConfigMap.
func TestLargeTableIsRestored(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("- rolearn: " + roleR + "\n  username: u\n  groups: &g [" + strings.Repeat("a-group-with-a-long-name, ", 3) + "z]\n")
	for i := range 8000 {
		b.WriteString("- rolearn: arn:aws:iam::111122223333:role/R" + strconv.Itoa(i) + "\n  username: u\n  groups: *g\n")
	}
	data := map[string]string{MapRoles: b.String() + "- {}\n"}
	a := judge(t, data, judge(t, map[string]string{MapRoles: b.String()}, nil))
	if saved := a.Saved().Data; Size(saved) < MaxConfigMapBytes || Size(data) > MaxConfigMapBytes {
		t.Fatalf("%d bytes make %d", Size(data), Size(saved))
	}
	judgeAgain(t, data, a)
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	for name, saved := range map[string]Saved{
		"not YAML":    {Data: map[string]string{MapRoles: "- ["}},
		"other items": {Data: map[string]string{MapRoles: goodText}, Text: map[string]string{MapRoles: goodText + "- {}\n"}},
		"broken text": {Data: map[string]string{MapRoles: goodText}, Text: map[string]string{MapRoles: "- ["}},
		"text alone":  {Text: map[string]string{MapRoles: "- {}\n"}},
	} {
		if a, err := Restore(saved); err == nil || !strings.HasPrefix(err.Error(), MapRoles+": ") {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	if a, err := Restore(Saved{}); err != nil || len(a.Mappings().Roles) > 0 {
		t.Errorf("nothing: %v, %v", a, err)
	}
}
