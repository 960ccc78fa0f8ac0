package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/iam"
)

const (
	roleR   = "arn:aws:iam::111122223333:role/R"
	userBob = "arn:aws:iam::012345678912:user/bob"
)

func roleEntry(arn string) Entry { return Entry{ARN: arn, Username: "u"} }

// lookup looks an ARN up in an index of one source.
func lookup(t *testing.T, m Mappings, arn string) (Match, bool) {
	t.Helper()
	x, _ := NewIndex([]Source{{Name: BackendEKSConfigMap, Mappings: m}}, IndexOptions{})
	return x.Lookup(mustARN(t, arn))
}

func TestLookupConformance(t *testing.T) {
	t.Parallel()
	// found is a mapRoles entry, and whether an identity finds it.
	foundIn := func(source string, e Entry, identity string, want bool) func(*testing.T) {
		return func(t *testing.T) {
			x, _ := NewIndex([]Source{{Name: source, Mappings: Mappings{Roles: []Entry{e}}}}, IndexOptions{})
			if m, ok := x.Lookup(mustARN(t, identity)); ok != want {
				t.Errorf("%s: %+v finds %s: %v (%+v), want %v", source, e, identity, ok, m, want)
			}
		}
	}
	found := func(e Entry, identity string, want bool) func(*testing.T) {
		return foundIn(BackendEKSConfigMap, e, identity, want)
	}
	// strict is an entry with a user ID, and the error that a principal gets.
	strict := func(e Entry, userID, identity string, want error) func(*testing.T) {
		return func(t *testing.T) {
			e.Username = "u"
			x, _ := NewIndex([]Source{{Name: BackendDynamicFile, StrictUserID: true, Mappings: Mappings{Users: []Entry{e}}}}, IndexOptions{})
			if m, err := x.LookupPrincipal(Principal{ARN: mustARN(t, identity), UserID: userID}); !errors.Is(err, want) {
				t.Errorf("LookupPrincipal = %+v, %v; want %v", m, err, want)
			}
		}
	}
	viewOnly := Entry{Username: "u", SSO: &SSO{PermissionSetName: "ViewOnlyAccess", AccountID: "012345678912"}}
	tests := map[string]func(*testing.T){
		// AWS writes "arn:aws:iam", and anything else is no principal's ARN to us;
		// what a person has written in a mapping may be in any case.
		"map-case": func(t *testing.T) {
			for _, mapped := range []string{roleR, "arn:aws:iam::111122223333:Role/r", "ARN:AWS:IAM::111122223333:ROLE/R"} {
				found(roleEntry(mapped), "arn:aws:iam::111122223333:role/r", true)(t)
			}
			problems := Check(Mappings{Roles: []Entry{roleEntry("arn:AWS:iam::111122223333:Role/r")}}, CheckOptions{})
			if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].Message, "write arn:aws:iam::111122223333:role/r") {
				t.Errorf("a spec: %v", problems)
			}
		},
		"map-assumed-file": func(t *testing.T) {
			// In aws-auth the original never finds one.
			for source, want := range map[string]bool{BackendMountedFile: true, BackendEKSConfigMap: false} {
				foundIn(source, roleEntry("arn:aws:sts::012345678910:assumed-role/test-assumed-role/session-name"), "arn:aws:iam::012345678910:role/test-assumed-role", want)(t)
			}
		},
		"map-user-in-roles": found(roleEntry("arn:aws:iam::111122223333:user/InRoles"), "arn:aws:iam::111122223333:user/InRoles", true),
		"map-root":          found(roleEntry("arn:aws:iam::111122223333:root"), "arn:aws:iam::111122223333:root", true),
		"map-file-badarn": func(t *testing.T) {
			// Where the original does not start, the entry is left out and
			// reported; what to do about it is the backend's business.
			x, findings := NewIndex([]Source{{Name: BackendMountedFile, Mappings: Mappings{Roles: []Entry{roleEntry("not an arn")}}}}, IndexOptions{})
			wantFinding(t, findings, Error, "MountedFile: mapRoles[0].arn: \"not an arn\": not an ARN")
			if x.Len() != 0 {
				t.Errorf("Len() = %d", x.Len())
			}
		},
		"map-sso-nopart": func(t *testing.T) {
			// Identity Center's suffix has 16 digits, not seven letters.
			found(viewOnly, "arn:aws:iam::012345678912:role/awsreservedsso_viewonlyaccess_0123456789abcdef", true)(t)
			found(viewOnly, "arn:aws:iam::012345678912:role/awsreservedsso_viewonlyaccess_abcdefg", false)(t)
			found(viewOnly, "arn:aws:iam::012345678912:role/awsreservedsso_billing_0123456789abcdef", false)(t)
		},
		"map-sso-prefix": func(t *testing.T) {
			admin := Entry{Username: "u", SSO: &SSO{PermissionSetName: "Admin", AccountID: "111122223333"}}
			found(admin, "arn:aws:iam::111122223333:role/awsreservedsso_admin_extra_0123456789abcdef", false)(t)
			found(admin, "arn:aws:iam::111122223333:role/awsreservedsso_admin_0123456789abcdef", true)(t)
		},
		"map-sso-bad": func(t *testing.T) {
			for _, spoil := range []func(*SSO){
				func(s *SSO) { s.Partition = "aws-nk" },
				func(s *SSO) { s.AccountID = "0123456789" },
				func(s *SSO) { s.PermissionSetName = "ViewOnlyAccess*" },
			} {
				sso := *viewOnly.SSO
				spoil(&sso)
				m := Mappings{Roles: []Entry{{Username: "u", SSO: &sso}}}
				if problems := Check(m, CheckOptions{}); len(problems) != 1 || problems[0].Warning {
					t.Errorf("%+v: problems %v", sso, problems)
				}
				if x, findings := NewIndex([]Source{{Mappings: m}}, IndexOptions{}); x.Len() != 0 || len(findings) != 1 {
					t.Errorf("%+v: indexed, findings %v", sso, findings)
				}
			}
		},
		"map-order-acct": func(t *testing.T) {
			accounts := Source{Name: "A", Mappings: Mappings{Accounts: []string{"111122223333"}}}
			explicit := Source{Name: "B", Mappings: Mappings{Roles: []Entry{roleEntry(roleR)}}}
			for _, sources := range [][]Source{{accounts, explicit}, {explicit, accounts}} {
				x, _ := NewIndex(sources, IndexOptions{})
				if m, ok := x.Lookup(mustARN(t, roleR)); !ok || m.Source != "B" || m.AccountFallback {
					t.Errorf("Lookup = %+v %v, want B's", m, ok)
				}
				m, ok := x.Lookup(mustARN(t, "arn:aws:sts::111122223333:assumed-role/Other/s"))
				if !ok || !m.AccountFallback || m.Source != "A" || m.Username.String() != "arn:aws:iam::111122223333:role/Other" || len(m.Groups) > 0 {
					t.Errorf("Lookup = %+v %v, want A's account fallback", m, ok)
				}
			}
		},
		"map-reserved": func(t *testing.T) {
			prefixes := []string{"aws:", "eks:", "amazon:", "iam:", "system:", ""}
			for name, want := range map[string]bool{"system:masters": true, "test": false, "eksb:test": false, "eks:test": true, "": false} {
				if prefix, got := ReservedPrefix(name, prefixes); got != want || got && !strings.HasPrefix(name, prefix) {
					t.Errorf("ReservedPrefix(%q) = %q %v, want %v", name, prefix, got, want)
				}
			}
		},
		"modes": func(t *testing.T) {
			for _, modes := range [][]string{{"MountedFile", "EKSConfigMap", "CRD"}, {"File", "ConfigMap"}} {
				if _, err := ParseBackends(modes); err != nil {
					t.Errorf("ParseBackends(%v): %v", modes, err)
				}
			}
			for _, modes := range [][]string{{"ModeFoo"}, {}, {"MountedFile", "MountedFile"}, {"MountedFile", "File"}, {"eksconfigmap"}} {
				if got, err := ParseBackends(modes); err == nil {
					t.Errorf("ParseBackends(%v) = %v, want an error", modes, got)
				}
			}
		},
		"crd-status": func(t *testing.T) {
			a := mustARN(t, "arn:aws:iam::123456789012:user/AuthorizedUser")
			if got, want := a.Key().String(), "arn:aws:iam::123456789012:user/authorizeduser"; got != want {
				t.Errorf("Key() = %s, want %s", got, want)
			}
		},
		"cm-add": func(t *testing.T) {
			role, user := roleEntry(roleR), roleEntry(userBob)
			problems := Check(Mappings{Roles: []Entry{role, role}, Users: []Entry{user, user}}, CheckOptions{})
			if len(problems) != 2 || problems[0].Section != MapRoles || problems[1].Section != MapUsers {
				t.Errorf("problems %v", problems)
			}
		},
		"strict-user":      strict(Entry{UserID: "1234", ARN: "arn:aws:iam::012345678912:user/matt"}, "1234", "arn:aws:iam::012345678912:user/matt", nil),
		"strict-role":      strict(Entry{UserID: "1234", ARN: "arn:aws:iam::012345678912:role/matt"}, "1234", "arn:aws:iam::012345678912:role/matt", nil),
		"strict-path":      strict(Entry{UserID: "1234", ARN: "arn:aws:iam::012345678912:role/path/for/this-role/matt"}, "1234", "arn:aws:iam::012345678912:role/matt", nil),
		"strict-mismatch":  strict(Entry{UserID: "1234", ARN: userBob}, "1234", "arn:aws:iam::012345678912:user/alice", ErrUserIDMismatch),
		"strict-malformed": strict(Entry{UserID: "AROAAAAAAAAAAAAAAAAAA", ARN: "not-an-arn"}, "AROAAAAAAAAAAAAAAAAAA", roleR, ErrUserIDMismatch),
		"strict-noarn":     strict(Entry{UserID: "1234"}, "1234", userBob, nil),
		"strict-assumed":   strict(Entry{UserID: "AROA", ARN: "arn:aws:sts::111122223333:assumed-role/R/s"}, "AROA", roleR, ErrUserIDMismatch),
	}
	runConformance(t, "mapping-lookups.json", tests,
		"dyn-ok", "dyn-one-empty", "dyn-sso", "dyn-badjson", "dyn-badtype", "dyn-notarn", "dyn-delete")
}

func TestLookupFindsOneKeyBySeveralSpellings(t *testing.T) {
	t.Parallel()
	const ssoRole = "aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef"
	sso := Entry{Username: "u", SSO: &SSO{PermissionSetName: "Admin", AccountID: "111122223333"}}
	for _, tt := range []struct {
		name  string
		entry Entry
		arn   string
		want  bool
	}{
		{"presigned finds a role with a path", roleEntry("arn:aws:iam::111122223333:role/p/q/R"), "arn:aws:sts::111122223333:assumed-role/R/s", true},
		{"JWT with a path finds a role without", roleEntry(roleR), "arn:aws:iam::111122223333:role/p/q/R", true},
		{"other role", roleEntry(roleR), "arn:aws:iam::111122223333:role/S", false},
		{"other account", roleEntry(roleR), "arn:aws:iam::444455556666:role/R", false},
		{"other partition", roleEntry(roleR), "arn:aws-cn:iam::111122223333:role/R", false},
		{"user of the role's name", roleEntry(roleR), "arn:aws:iam::111122223333:user/R", false},
		{"user by another path", roleEntry("arn:aws:iam::111122223333:user/p/A"), "arn:aws:iam::111122223333:user/A", false},
		{"SSO role by its ARN as in a JWT", roleEntry("arn:aws:iam::111122223333:role/" + ssoRole), "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/alice", true},
		{"permission set, presigned", sso, "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/alice", true},
		{"permission set, JWT", sso, "arn:aws:iam::111122223333:role/" + ssoRole, true},
		{"permission set in another account", sso, "arn:aws:iam::444455556666:role/" + ssoRole, false},
		{"permission set in another partition", sso, "arn:aws-cn:iam::111122223333:role/" + ssoRole, false},
		{"role that looks like SSO's, elsewhere", sso, "arn:aws:iam::111122223333:role/mine/AWSReservedSSO_Admin_0123456789abcdef", false},
		{"user that looks like an SSO role", sso, "arn:aws:iam::111122223333:user/AWSReservedSSO_Admin_0123456789abcdef", false},
		{"17 digits", sso, "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_00123456789abcdef", false},
		{"15 digits", sso, "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_123456789abcdef", false},
		{"no digits", sso, "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdeg", false},
		{"nothing but the prefix", sso, "arn:aws:iam::111122223333:role/AWSReservedSSO_", false},
		{"no permission set", sso, "arn:aws:iam::111122223333:role/AWSReservedSSO__0123456789abcdef", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, ok := lookup(t, Mappings{Roles: []Entry{tt.entry}}, tt.arn); ok != tt.want {
				t.Errorf("found is %v, want %v", ok, tt.want)
			}
		})
	}
}

func TestSSOEntryTakesTheClustersPartition(t *testing.T) {
	t.Parallel()
	for _, partition := range []string{"", "aws-cn"} {
		x, findings := NewIndex([]Source{{Mappings: Mappings{Roles: []Entry{{
			Username: "u", SSO: &SSO{PermissionSetName: "Admin", AccountID: "111122223333", Partition: partition},
		}}}}}, IndexOptions{Partition: "aws-cn"})
		wantFinding(t, findings, 0, "")
		if _, ok := x.Lookup(mustARN(t, "arn:aws-cn:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef")); !ok {
			t.Errorf("partition %q: not found", partition)
		}
	}
}

func TestIndexPrecedence(t *testing.T) {
	t.Parallel()
	named := func(arn, username string) Entry { return Entry{ARN: arn, Username: username} }
	sso := Entry{Username: "sso", SSO: &SSO{PermissionSetName: "Admin", AccountID: "111122223333"}}
	const ssoARN = "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef"
	for _, tt := range []struct {
		name     string
		sources  []Source
		arn      string
		want     string
		findings int
	}{
		{
			"first source", []Source{
				{Mappings: Mappings{Roles: []Entry{named(roleR, "first")}}},
				{Mappings: Mappings{Roles: []Entry{named(roleR, "second")}}},
			}, roleR, "first", 0,
		},
		{"later entry of a section", []Source{{Mappings: Mappings{Roles: []Entry{named(roleR, "one"), named(roleR, "two")}}}}, roleR, "two", 1},
		{
			"spelled as STS does", []Source{{Mappings: Mappings{Roles: []Entry{
				named(roleR, "plain"),
				named("arn:aws:iam::111122223333:role/p/R", "path"),
			}}}}, roleR, "plain", 1,
		},
		{
			"mapRoles before mapUsers", []Source{{Mappings: Mappings{
				Roles: []Entry{named("arn:aws:iam::111122223333:user/A", "roles")},
				Users: []Entry{named("arn:aws:iam::111122223333:user/A", "users")},
			}}}, "arn:aws:iam::111122223333:user/A", "roles", 2, // also: a user under mapRoles
		},
		{"exact before permission set", []Source{{Mappings: Mappings{Roles: []Entry{sso, named(ssoARN, "exact")}}}}, ssoARN, "exact", 0},
		{
			"permission set of an earlier source", []Source{
				{Mappings: Mappings{Roles: []Entry{sso}}},
				{Mappings: Mappings{Roles: []Entry{named(ssoARN, "exact")}}},
			}, ssoARN, "sso", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, findings := NewIndex(tt.sources, IndexOptions{})
			if m, ok := x.Lookup(mustARN(t, tt.arn)); !ok || m.Username.String() != tt.want {
				t.Errorf("Lookup = %q %v, want %q", m.Username, ok, tt.want)
			}
			if len(findings) != tt.findings {
				t.Errorf("findings %v, want %d", findings, tt.findings)
			}
		})
	}
}

func TestIndexReports(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		m        Mappings
		severity Severity
		message  string
		len      int
	}{
		{"assumed role", Mappings{Roles: []Entry{roleEntry("arn:aws:sts::111122223333:assumed-role/R/s")}}, Warning, "use arn:aws:iam::111122223333:role/R", 1},
		{"role under mapUsers", Mappings{Users: []Entry{roleEntry(roleR)}}, Warning, "belongs under mapRoles", 1},
		{"other partition", Mappings{Roles: []Entry{roleEntry("arn:aws-cn:iam::111122223333:role/R")}}, Error, "partition aws-cn, and the cluster's is aws", 0},
		{"empty username", Mappings{Roles: []Entry{{ARN: roleR}}}, Error, "missing or empty", 0},
		{"unknown variable", Mappings{Roles: []Entry{{ARN: roleR, Username: "{{Foo}}"}}}, Error, "unknown variable", 0},
		{"mangled group", Mappings{Roles: []Entry{{ARN: roleR, Username: "u", Groups: []string{"a - b"}}}}, Error, "run together", 0},
		{"empty group", Mappings{Roles: []Entry{{ARN: roleR, Username: "u", Groups: []string{""}}}}, Error, "groups[0]: empty", 0},
		{"account", Mappings{Accounts: []string{"1"}}, Error, "twelve digits", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, findings := NewIndex([]Source{{Name: BackendCRD, Mappings: tt.m}}, IndexOptions{Partition: "aws"})
			wantFinding(t, findings, tt.severity, tt.message)
			if x.Len() != tt.len {
				t.Errorf("Len() = %d, want %d", x.Len(), tt.len)
			}
		})
	}
}

func TestStrictSource(t *testing.T) {
	t.Parallel()
	x, findings := NewIndex([]Source{
		{Name: BackendDynamicFile, StrictUserID: true, Mappings: Mappings{
			Roles: []Entry{{ARN: roleR, Username: "strict", UserID: "AROA1"}, roleEntry("arn:aws:iam::111122223333:role/NoID")},
		}},
		{Name: BackendEKSConfigMap, Mappings: Mappings{Roles: []Entry{roleEntry("arn:aws:iam::111122223333:role/S")}, Accounts: []string{"111122223333"}}},
	}, IndexOptions{})
	wantFinding(t, findings, Error, "mapRoles[1].userid: missing")
	for _, tt := range []struct {
		name, userID, arn, want string
		err                     error
	}{
		{"by user ID", "AROA1", roleR, "strict", nil},
		{"wrong ARN is denied, whatever others say", "AROA1", "arn:aws:iam::111122223333:role/S", "", ErrUserIDMismatch},
		{"unknown ID goes to the next source", "AROA2", "arn:aws:iam::111122223333:role/S", "u", nil},
		{"user IDs have capitals", "aroa1", roleR, roleR, nil},
		{"no ID", "", roleR, roleR, nil},
	} {
		m, err := x.LookupPrincipal(Principal{ARN: mustARN(t, tt.arn), UserID: tt.userID})
		name := ""
		if err == nil {
			name = m.Username.String()
		}
		if !errors.Is(err, tt.err) || name != tt.want {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, name, err, tt.want, tt.err)
		}
	}
}

func TestPartitionKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	x, _ := NewIndex([]Source{{Mappings: Mappings{Accounts: []string{"111122223333"}}}}, IndexOptions{Partition: "aws"})
	if m, ok := x.Lookup(mustARN(t, "arn:aws-cn:iam::111122223333:role/R")); ok {
		t.Errorf("somebody of aws-cn gets in as %q", m.Username)
	}
	if _, ok := x.Lookup(iam.ARN{}); ok {
		t.Error("the zero ARN gets in")
	}
}

func TestLookupAllocates(t *testing.T) {
	x, arns := bigIndex(1000)
	for name, arn := range arns {
		most := 0.0
		if name == "account" {
			most = 2
		}
		if got := testing.AllocsPerRun(100, func() { x.Lookup(arn) }); got > most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, most)
		}
	}
}

// bigIndex returns an index of n entries, a tenth of them permission sets, and
// a principal of each kind.
func bigIndex(n int) (*Index, map[string]iam.ARN) {
	m := bigMappings(n)
	x, _ := NewIndex([]Source{{Name: BackendEKSConfigMap, Mappings: m}}, IndexOptions{Partition: "aws"})
	arn := func(kind iam.Kind, account, name string) iam.ARN {
		return iam.ARN{Partition: "aws", Account: account, Kind: kind, Name: name, Session: "alice"}
	}
	return x, map[string]iam.ARN{
		"role":    arn(iam.KindAssumedRole, "111122223333", fmt.Sprintf("Team-%d", n/2+1)),
		"sso":     arn(iam.KindAssumedRole, "111122223333", fmt.Sprintf("AWSReservedSSO_Set-%d_0123456789abcdef", 0)),
		"miss":    arn(iam.KindAssumedRole, "123456789012", "AWSReservedSSO_Nobody_0123456789abcdef"),
		"account": arn(iam.KindUser, "444455556666", "somebody"),
	}
}

func bigMappings(n int) Mappings {
	m := Mappings{Accounts: []string{"444455556666"}}
	for i := range n {
		e := Entry{Username: fmt.Sprintf("u%d", i), Groups: []string{fmt.Sprintf("g%d", i)}}
		if i%10 == 0 {
			e.SSO = &SSO{PermissionSetName: fmt.Sprintf("Set-%d", i), AccountID: "111122223333"}
		} else {
			e.ARN = fmt.Sprintf("arn:aws:iam::111122223333:role/Team-%d", i)
		}
		m.Roles = append(m.Roles, e)
	}
	return m
}

// BenchmarkLookup is what a login costs the index.
func BenchmarkLookup(b *testing.B) {
	lookup := func(x *Index, arn iam.ARN) { _, _ = x.LookupPrincipal(Principal{ARN: arn}) }
	for _, n := range []int{10, 10_000, 100_000} {
		x, arns := bigIndex(n)
		for _, name := range slices.Sorted(maps.Keys(arns)) {
			arn := arns[name]
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					lookup(x, arn)
				}
			})
		}
		// One principal after another, so that the table is not in the cache.
		all := make([]iam.ARN, 0, n)
		for i := range n {
			all = append(all, iam.ARN{Partition: "aws", Account: "111122223333", Kind: iam.KindRole, Name: fmt.Sprintf("Team-%d", i*7919%n)})
		}
		b.Run(fmt.Sprintf("everybody/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				lookup(x, all[i])
				if i++; i == len(all) {
					i = 0
				}
			}
		})
	}
}

func TestEntryUses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		entry Entry
		want  bool
	}{
		{Entry{Username: "system:node:{{EC2PrivateDNSName}}"}, true},
		{Entry{Username: "u", Groups: []string{"g", "of:{{EC2PrivateDNSName}}"}}, true},
		{Entry{Username: "EC2PrivateDNSName", Groups: []string{"{{AccountID}}"}}, false},
		{Entry{}, false},
	} {
		if got := tc.entry.Uses(VarEC2PrivateDNSName); got != tc.want {
			t.Errorf("%+v: %v", tc.entry, got)
		}
	}
}

// Of two entries of one user ID, one that is damaged does not come after a good one.
func TestStrictDamagedBesideGood(t *testing.T) {
	t.Parallel()
	good := Entry{ARN: "arn:aws:iam::111122223333:role/A", UserID: "AROAEXAMPLE", Username: "a"}
	damaged := good
	damaged.Username = ""
	for name, entries := range map[string][]Entry{"before": {damaged, good}, "after": {good, damaged}} {
		x, _ := NewIndex([]Source{{Name: BackendDynamicFile, StrictUserID: true, Mappings: Mappings{Roles: entries}}}, IndexOptions{Partition: "aws"})
		arn, err := iam.ParseARN(good.ARN)
		if err != nil {
			t.Fatal(err)
		}
		m, err := x.LookupPrincipal(Principal{ARN: arn, UserID: good.UserID})
		if err != nil || m.Username.String() != "a" {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
}
