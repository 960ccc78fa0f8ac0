package backend

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

func TestMountedFileIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	b := &bench{t: t, store: NewStore([]string{mapping.BackendMountedFile}, StoreOptions{Partition: "aws"})}
	write := func(user, arn string) {
		if err := os.WriteFile(path, []byte("clusterID: c\nserver:\n  mapRoles:\n  - rolearn: "+arn+"\n    username: "+user+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first", role("A"))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded := mapping.Mappings{Roles: []mapping.Entry{{ARN: role("A"), Username: "first"}}}
	b.store.Set(mapping.BackendMountedFile, loaded, nil, "")
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	write("early", role("A")) // between the first load and the first look
	wg.Go(func() { FollowMounted(ctx, path, info, loaded, b.store, tick) })
	tick <- time.Time{}
	if got := b.username(role("A")); got != "early" {
		t.Errorf("written before the first look: %s", got)
	}
	write("second", role("A"))
	tick <- time.Time{}
	tick <- time.Time{}
	if got := b.username(role("A")); got != "second" {
		t.Errorf("got %s", got)
	}
	write("third", "junk-arn-of-another-length")
	tick <- time.Time{}
	tick <- time.Time{}
	if got := b.username(role("A")); got != "second" || !strings.Contains(b.store.Status()[0].Problem, "nothing in mapRoles of") {
		t.Errorf("got %s, %+v", got, b.store.Status())
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tick <- time.Time{}
	tick <- time.Time{}
	if got := b.username(role("A")); got != "second" || !strings.Contains(b.store.Status()[0].Problem, "empty") {
		t.Errorf("got %s, %+v", got, b.store.Status())
	}
	// What aws-iam-authenticator starts with is not refused as a whole: an entry
	// that is wrong keeps what it said.
	write("\"{{Nonsense}}\"\n  - rolearn: "+role("B")+"\n    username: b", role("A"))
	tick <- time.Time{}
	tick <- time.Time{}
	st := b.store.Status()[0]
	if a, bb := b.username(role("A")), b.username(role("B")); a != "second" || bb != "b" || st.Problem != "" {
		t.Errorf("A is %s, B is %s, %+v", a, bb, st)
	}
	if len(st.Findings) != 1 || !strings.HasPrefix(st.Findings[0].String(), "mapRoles[0].username: ") || !strings.Contains(st.Findings[0].Message, "the last good one stays in force") {
		t.Errorf("findings %+v", st.Findings)
	}
	// An entry that is gone is gone.
	write("b", role("B"))
	tick <- time.Time{}
	tick <- time.Time{}
	if a, bb := b.username(role("A")), b.username(role("B")); a != "nobody" || bb != "b" {
		t.Errorf("A is %s, B is %s", a, bb)
	}
}

// mountedBench is a MountedFile backend that looks when it is told to.
type mountedBench struct {
	bench
	path string
	tick chan time.Time
	n    int
}

// newMountedBench returns one that has started with a configuration file's
// "server" part.
func newMountedBench(t *testing.T, server string) *mountedBench {
	b := &mountedBench{
		bench: bench{t: t, store: NewStore([]string{mapping.BackendMountedFile}, StoreOptions{Partition: "aws"})},
		path:  filepath.Join(t.TempDir(), "config.yaml"), tick: make(chan time.Time),
	}
	b.place(server)
	f, err := config.Load(b.path)
	if err != nil {
		t.Fatal(err)
	}
	loaded := f.Server.Mappings()
	b.store.Set(mapping.BackendMountedFile, loaded, nil, "")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() { FollowMounted(ctx, b.path, f.Info, loaded, b.store, b.tick) })
	b.tick <- time.Time{}
	return b
}

// place puts a "server" part in the file's place. No two of them are of one size.
func (b *mountedBench) place(server string) {
	b.t.Helper()
	b.n++
	text := "clusterID: c\nserver:\n" + server + strings.Repeat("#", 1000*b.n) + "\n"
	if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// write is place, and has it looked at: when the second tick is taken, what the
// first found is in force.
func (b *mountedBench) write(server string) {
	b.t.Helper()
	b.place(server)
	b.tick <- time.Time{}
	b.tick <- time.Time{}
}

// who returns an ARN's username and groups, or "nobody".
func (b *mountedBench) who(arn string) string {
	b.t.Helper()
	a, err := iam.ParseARN(arn)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := b.store.Lookup(mapping.Principal{ARN: a})
	if err != nil {
		return "nobody"
	}
	return strings.TrimSpace(m.Username.String() + " " + strings.Join(m.Entry.Groups, " "))
}

// What is wrong in a later file costs only what it is about, which keeps what it
// said. What is gone is gone.
func TestMountedEntryKeepsWhatWasGood(t *testing.T) {
	t.Parallel()
	const account = "arn:aws:iam::444455556666:role/X"
	entry := func(arn, username, groups string) string {
		return "  - rolearn: " + arn + "\n    username: " + username + "\n    groups:" + groups + "\n"
	}
	a, b := entry(role("A"), "a", " [g]"), entry(role("B"), "b", " [system:masters]")
	list := func(entries ...string) string {
		return "  mapRoles:\n" + strings.Join(entries, "") + "  mapAccounts: [\"444455556666\"]\n"
	}
	for name, tc := range map[string]struct {
		now     string
		a, b    string // whom they are afterwards
		says    string
		restart bool // whether a server would start with it
	}{
		"blank groups":           {list(a, entry(role("B"), "b", "")), "a g", "b system:masters", `mapRoles[1].groups: none, where there were some before, and "groups" has nothing after it`, true},
		"null groups":            {list(a, entry(role("B"), "b", " ~")), "a g", "b system:masters", `"groups" has nothing after it`, true},
		"no groups are meant":    {list(a, entry(role("B"), "b", " []")), "a g", "b", "", true},
		"groups are taken out":   {list(a, "  - {rolearn: \""+role("B")+"\", username: b}\n"), "a g", "b", "", true},
		"junk ARN":               {list(entry("junk", "b", " [system:masters]")), "nobody", "b system:masters", "mapRoles[0].arn: ", false},
		"no ARN":                 {list(entry("", "b", " [system:masters]")), "nobody", "b system:masters", "mapRoles[0].arn: missing", false},
		"new entry without one":  {list("  - username: x\n", b), "nobody", "b system:masters", "mapRoles[0].arn: missing", false},
		"new, and no other left": {list("  - username: x\n"), "a g", "b system:masters", "nothing in mapRoles of ", false},
		"permission set":         {list(b, "  - sso: {permissionSetName: Admin, accountID: \"1\"}\n    username: x\n"), "nobody", "b system:masters", "mapRoles[1].sso.accountID: ", false},
		"short account":          {strings.Replace(list(a, b), "444455556666", "44445555666", 1), "a g", "b system:masters", "mapAccounts[0]: \"44445555666\" is not an account's twelve digits", true},
		"empty list":             {"  mapRoles: []\n  mapAccounts: [\"444455556666\"]\n", "nobody", "nobody", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMountedBench(t, list(a, b))
			for range 2 { // also when the same is read again
				m.write(tc.now)
				st := m.store.Status()[0]
				said := st.Problem
				for _, f := range st.Findings {
					said += "\n" + f.String()
				}
				if a, b := m.who(role("A")), m.who(role("B")); a != tc.a || b != tc.b {
					t.Errorf("A is %s, B is %s: %s", a, b, said)
				}
				if got := m.who(account); got != account {
					t.Errorf("the account's are %s: %s", got, said)
				}
				if !strings.Contains(said, tc.says) || tc.says == "" && said != "" {
					t.Errorf("said: %s", said)
				}
				if strings.Contains(said, "a server would not start with it") == tc.restart {
					t.Errorf("of a restart it says: %s", said)
				}
			}
			m.write(list(entry(role("A"), "mended", " [g]")))
			if a, b := m.who(role("A")), m.who(role("B")); a != "mended g" || b != "nobody" || m.store.Status()[0].Problem != "" || len(m.store.Status()[0].Findings) > 0 {
				t.Errorf("mended: A is %s, B is %s, %+v", a, b, m.store.Status()[0])
			}
		})
	}
}

// The server refuses to start only with what aws-iam-authenticator refuses to start
// with.
func TestCheckMounted(t *testing.T) {
	t.Parallel()
	sso := func(s mapping.SSO) mapping.Mappings {
		return mapping.Mappings{Roles: []mapping.Entry{{SSO: &s, Username: "u"}}}
	}
	one := func(arn, username string) mapping.Mappings {
		return mapping.Mappings{Roles: []mapping.Entry{{ARN: arn, Username: username}}}
	}
	user := func(arn string) mapping.Mappings {
		return mapping.Mappings{Users: []mapping.Entry{{ARN: arn, Username: "u"}}}
	}
	for _, tc := range []struct {
		name  string
		m     mapping.Mappings
		wrong string // empty for a table to start with
	}{
		{"good", one(role("A"), "a"), ""},
		{"no username", one(role("A"), ""), ""},
		{"unknown variable", one(role("A"), "{{Foo}}"), ""},
		{"short account", one("arn:aws:iam::11111222233:role/A", "a"), ""},
		{"wildcard", one("arn:aws:iam::111122223333:role/A*", "a"), ""},
		{"empty group", mapping.Mappings{Roles: []mapping.Entry{{ARN: role("A"), Username: "a", Groups: []string{""}}}}, ""},
		{"another partition", one("arn:aws-cn:iam::111122223333:role/A", "a"), ""},
		{"permission set of another partition", sso(mapping.SSO{PermissionSetName: "Admin", AccountID: "111122223333", Partition: "aws-cn"}), ""},
		{"short account in mapAccounts", mapping.Mappings{Accounts: []string{"11111222233"}}, ""},
		{"user in capitals", user("ARN:AWS:IAM::111122223333:USER/Al"), ""},
		{"user in capitals, with a short account", user("ARN:AWS:IAM::1:USER/Al"), ""},

		{"no ARN", one("", "a"), "mapRoles[0].arn: missing"},
		{"no user's ARN", user(""), "mapUsers[0].arn: missing"},
		{"junk", one("junk", "a"), "not an ARN"},
		{"unknown partition", one("arn:aws-nk:iam::111122223333:role/A", "a"), "unknown partition"},
		{"group", user("arn:aws:iam::111122223333:group/G"), "does not name an IAM principal"},
		{"bucket", one("arn:aws:s3:::bucket", "a"), "account is not twelve digits"},
		{"session of no role", one("arn:aws:sts::111122223333:assumed-role/A", "a"), "has a role and a session name"},
		{"permission set in a short account", sso(mapping.SSO{PermissionSetName: "Admin", AccountID: "1"}), "sso.accountID"},
		{"permission set without a name", sso(mapping.SSO{AccountID: "111122223333"}), "sso.permissionSetName"},
		{"permission set of no partition", sso(mapping.SSO{PermissionSetName: "Admin", AccountID: "111122223333", Partition: "aws-nk"}), "sso.partition"},
		{"both", mapping.Mappings{Roles: []mapping.Entry{{ARN: role("A"), Username: "a", SSO: &mapping.SSO{PermissionSetName: "Admin", AccountID: "111122223333"}}}}, "not both"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := CheckMounted(tc.m)
			if tc.wrong == "" && err != nil || tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)) {
				t.Errorf("got %v, want %q", err, tc.wrong)
			}
		})
	}
}

// A file that could not be read is read as soon as it can be, though neither its
// time nor its size has changed then.
func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	forbidden := false
	file := watchedFile{path: path, read: func(path string) ([]byte, error) {
		if forbidden { // root reads any file, so its mode would not do
			return nil, fs.ErrPermission
		}
		return readTable(path)
	}}
	look := func(want string, wantChanged, wantErr bool) {
		t.Helper()
		data, changed, err := file.look()
		if string(data) != want || changed != wantChanged || (err != nil) != wantErr {
			t.Errorf("got %q, %v, %v", data, changed, err)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look("", true, true) // not there
	look("", false, true)
	write("a")
	look("a", true, false)
	look("", false, false)
	forbidden = true
	look("", false, false) // nobody needs to read what is known
	write("bb")
	look("", true, true)
	look("", false, true) // said already
	forbidden = false
	look("bb", true, false)
	look("", false, false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("", false, true) // it may be about to be replaced
	look("", true, true)
	look("", false, true)
	write("bb")
	look("bb", true, false)
}
