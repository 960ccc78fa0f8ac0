package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	peerconfig "sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/errutil"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/dynamicfile"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/file"
	peermetrics "sigs.k8s.io/aws-iam-authenticator/pkg/metrics"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// These tests run the conformance tables against the original's own library,
// and ours beside it on the same input. A case in which the two differ says why,
// and a row of docs/compatibility.md does. What the running program shows is
// tested in pkg/authenticator (TestOracle*).

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	peerconfig.SSORoleMatchEnabled = true
	peermetrics.InitMetrics(prometheus.NewRegistry())
	os.Exit(m.Run())
}

// tableTest is what the original's library and ours make of a case.
type tableTest struct {
	theirs, ours func(t *testing.T) string
	// want is the original's, as the table has it.
	want string
	// differs is why ours is another; empty if it is not.
	differs string
}

// runTable runs the tests of a table. Each case has one, or a reason why not.
func runTable(t *testing.T, path string, tests map[string]tableTest, not map[string]string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ ID string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != len(tests)+len(not) {
		t.Errorf("%d cases, %d tests and %d without", len(cases), len(tests), len(not))
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			test, ok := tests[c.ID]
			if !ok {
				if not[c.ID] == "" {
					t.Fatal("no test")
				}
				t.Skip(not[c.ID])
			}
			theirs := test.theirs(t)
			if theirs != test.want {
				t.Errorf("the original: %s\nthe table: %s", theirs, test.want)
			}
			if test.ours == nil {
				return
			}
			switch ours := test.ours(t); {
			case ours == theirs && test.differs != "":
				t.Errorf("both say %s, though it is said that %s", ours, test.differs)
			case ours != theirs && test.differs == "":
				t.Errorf("the original: %s\nours: %s", theirs, ours)
			}
		})
	}
}

const (
	good = "- rolearn: arn:aws:iam::111122223333:role/Good\n  username: good\n  groups:\n  - system:masters\n"
	// bad and badWas are a second entry, before and after something went wrong.
	bad    = "- rolearn: arn:aws:iam::111122223333:role/Bad\n"
	badWas = bad + "  username: bad\n  groups: [a, b]\n"

	goodEntry = `arn:aws:iam::111122223333:role/Good=good["system:masters"]`
	badEntry  = "arn:aws:iam::111122223333:role/Bad"
)

// entry writes an entry as the tests compare it.
func entry(arn string, sso fmt.Stringer, username string, groups []string) string {
	if sso != nil {
		arn = sso.String()
	}
	return fmt.Sprintf("%s=%s%q", arn, username, groups)
}

type ssoName [3]string

func (s ssoName) String() string { return "sso:" + strings.Join(s[:], "/") }

// peerParse is what the original makes of texts of aws-auth.
func peerParse(data map[string]string) string {
	users, roles, accounts, err := configmap.ParseMap(data)
	var all []string
	for _, r := range roles {
		var sso fmt.Stringer
		if r.SSO != nil {
			sso = ssoName{r.SSO.PermissionSetName, r.SSO.AccountID, r.SSO.Partition}
		}
		all = append(all, entry(r.RoleARN, sso, r.Username, r.Groups))
	}
	for _, u := range users {
		all = append(all, entry(u.UserARN, nil, u.Username, u.Groups))
	}
	return strings.Join(append(all, accounts...), " ") + map[bool]string{true: " error"}[err != nil]
}

// ownParse is ours, with what was in force before; the error is the original's
// way to report, and is not compared.
func ownParse(before, data map[string]string) string {
	last, _ := mapping.Parse(before)
	table, _ := mapping.ParseWithLastGood(data, last)
	m := table.Mappings()
	var all []string
	for _, e := range append(slices.Clone(m.Roles), m.Users...) {
		var sso fmt.Stringer
		if e.SSO != nil {
			sso = ssoName{e.SSO.PermissionSetName, e.SSO.AccountID, e.SSO.Partition}
		}
		all = append(all, entry(e.ARN, sso, e.Username, e.Groups))
	}
	return strings.Join(append(all, m.Accounts...), " ")
}

// parsed is a test of texts that all come to the same; before is what was in
// force in ours.
func parsed(before map[string]string, want, differs string, texts ...map[string]string) tableTest {
	each := func(parse func(map[string]string) string) func(*testing.T) string {
		return func(t *testing.T) string {
			first := parse(texts[0])
			for _, data := range texts[1:] {
				if got := parse(data); got != first {
					t.Errorf("%q comes to %s, %q to %s", texts[0], first, data, got)
				}
			}
			return first
		}
	}
	_, reports := strings.CutSuffix(want, " error")
	return tableTest{want: want, differs: differs, theirs: each(peerParse), ours: each(func(data map[string]string) string {
		text := ownParse(before, data)
		if reports {
			text += " error"
		}
		return text
	})}
}

func roles(text string) map[string]string { return map[string]string{mapping.MapRoles: text} }

// TestOracleAWSAuth: the entries that come of a text.
func TestOracleAWSAuth(t *testing.T) {
	const g = goodEntry
	fresh := func(want, differs string, texts ...map[string]string) tableTest {
		return parsed(nil, want, differs, texts...)
	}
	damaged := func(want, text string) tableTest {
		return parsed(roles(good+badWas), want, "ours keeps the last good entry", roles(good+bad+text))
	}
	var skippable []map[string]string
	for _, text := range []string{"''", "``", `""`} {
		for _, key := range []string{mapping.MapRoles, mapping.MapUsers, mapping.MapAccounts} {
			skippable = append(skippable, map[string]string{key: text})
		}
	}
	var misspelt []map[string]string
	for _, key := range []string{"maproles", "MaPrOlEs", "mapusers", "mapaccounts"} {
		misspelt = append(misspelt, map[string]string{key: good})
	}
	spelled := func(names ...string) map[string]string {
		return roles(strings.NewReplacer("rolearn", names[0], "username", names[1], "groups", names[2]).Replace(good))
	}
	const user = "- userarn: arn:aws:iam::111122223333:user/U\n  username: u\n"
	watch := "a watch: TestOracleWatch"
	runTable(t, "pkg/mapping/testdata/aws-auth-parsing.json", map[string]tableTest{
		"cm-good":        fresh(g, "", roles(good)),
		"cm-case-fields": fresh(g, "", spelled("rOlEaRn", "UsErNaMe", "gRoUpS"), spelled("roleARN", "username", "groups")),
		"cm-case-top":    fresh("", "", misspelt...),
		"cm-indent": damaged(g+" "+badEntry+`=bad["system:bootstrappers - system:nodes"]`,
			"  username: bad\n  groups:\n  - system:bootstrappers\n   - system:nodes\n"),
		"cm-skippable":         fresh("", "", skippable...),
		"cm-missing-arn":       fresh(g+" error", "", roles(good+"- username: u\n  groups: [g]\n")),
		"cm-yaml-syntax":       damaged(" error", "    username: bad\n"),
		"cm-unquoted-template": damaged(" error", "  username: {{SessionName}}\n"),
		"cm-groups-int":        damaged(g+" "+badEntry+`=bad["a" "" "c"] error`, "  username: bad\n  groups: [a, 5, c]\n"),
		"cm-user-int":          damaged(g+" "+badEntry+`=[] error`, "  username: 12345\n"),
		"cm-unknown-field":     fresh(g+" "+badEntry+`=bad[]`, "", roles(good+bad+"  username: bad\n  bogus: 1\n")),
		"cm-null-item":         fresh(g+" error", "", roles(good+"- null\n")),
		"cm-scalar-item":       fresh(g+" error", "", roles(good+"- hello\n")),
		"cm-userarn-in-roles":  fresh(" error", "", roles(user)),
		"cm-dup-user": fresh("arn:aws:iam::111122223333:user/U=u[] arn:aws:iam::111122223333:user/u=u[]", "", map[string]string{
			mapping.MapUsers: user + strings.Replace(user, "user/U", "user/u", 1)}),
		"cm-notarn":   fresh("hello=u[]", "ours drops the entry, and says so", roles("- rolearn: hello\n  username: u\n")),
		"cm-multidoc": fresh(g, "", roles(good+"---\n"+badWas)),
		"cm-sso-ok": fresh("sso:ViewOnlyAccess/012345678912/aws-cn=viewer[]", "",
			roles("- sso: {permissionSetName: ViewOnlyAccess, accountID: \"012345678912\", partition: aws-cn}\n  username: viewer\n")),
		"cm-sso-both": fresh(" error", "", roles("- rolearn: arn:aws:iam::111122223333:role/R\n  sso: {permissionSetName: V, accountID: \"012345678912\"}\n  username: u\n")),
		"cm-acc-int":  fresh("012345678901 111122223333", "", map[string]string{mapping.MapAccounts: "- 012345678901\n- 111122223333\n"}),
	}, map[string]string{
		"cm-nobar":     "the API server refuses the ConfigMap: backend: TestBackendConformance",
		"cm-watch-add": watch, "cm-watch-mod": watch, "cm-watch-bad": watch, "cm-watch-del": watch,
		"cm-watch-hot": "a matter of seconds with the original, measured once",
	})
}

// found writes whether an identity is mapped, and to whom.
func found(username string, err error) string {
	switch {
	case errors.Is(err, errutil.ErrIDAndARNMismatch), errors.Is(err, mapping.ErrUserIDMismatch):
		return "mismatch"
	case err != nil:
		return "nobody"
	}
	return username
}

// mountedTest looks identities up in a MountedFile of one table.
func mountedTest(want, differs string, m mapping.Mappings, identities ...string) tableTest {
	return tableTest{
		want: want, differs: differs,
		theirs: func(*testing.T) string {
			var cfg peerconfig.Config
			for _, e := range m.Roles {
				r := peerconfig.RoleMapping{RoleARN: e.ARN, Username: e.Username, Groups: e.Groups}
				if e.SSO != nil {
					r.SSO = &peerconfig.SSOARNMatcher{PermissionSetName: e.SSO.PermissionSetName, AccountID: e.SSO.AccountID, Partition: e.SSO.Partition}
				}
				cfg.RoleMappings = append(cfg.RoleMappings, r)
			}
			f, err := file.NewFileMapper(cfg)
			if err != nil {
				return "refused"
			}
			var all []string
			for _, id := range identities {
				username := ""
				got, err := f.Map(&token.Identity{CanonicalARN: id})
				if err == nil {
					username = got.Username
				}
				all = append(all, found(username, err))
			}
			return strings.Join(all, " ")
		},
		ours: func(*testing.T) string {
			x, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendMountedFile, Mappings: m}}, mapping.IndexOptions{Partition: "aws"})
			for _, f := range findings {
				if f.Severity == mapping.Error {
					return "refused"
				}
			}
			var all []string
			for _, id := range identities {
				username := ""
				a, err := iam.ParseARN(id)
				var got *mapping.Match
				if err == nil {
					got, err = x.LookupPrincipal(mapping.Principal{ARN: a})
				}
				if err == nil {
					username = got.Username.String()
				}
				all = append(all, found(username, err))
			}
			return strings.Join(all, " ")
		},
	}
}

// strictTest looks a user ID and an ARN up in a strict dynamic file of one entry.
func strictTest(want, entry, userID, canonical string) tableTest {
	text := `{"mapRoles":[` + entry + `]}`
	if strings.Contains(entry, "userarn") {
		text = `{"mapUsers":[` + entry + `]}`
	}
	return tableTest{want: want, theirs: func(t *testing.T) string {
		m := peerDynamic(t, true)
		if err := m.CallBackForFileLoad([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return peerLookup(m, userID, canonical)
	}, ours: func(t *testing.T) string {
		var e struct{ UserID, UserARN, RoleARN string }
		if err := json.Unmarshal([]byte(entry), &e); err != nil {
			t.Fatal(err)
		}
		x, _ := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendDynamicFile, StrictUserID: true, Mappings: mapping.Mappings{
			Roles: []mapping.Entry{{ARN: e.RoleARN + e.UserARN, UserID: e.UserID, Username: "u"}}}}}, mapping.IndexOptions{Partition: "aws"})
		a, err := iam.ParseARN(canonical)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.LookupPrincipal(mapping.Principal{ARN: a, UserID: userID})
		return found("u", err)
	}}
}

func peerDynamic(t *testing.T, strict bool) *dynamicfile.DynamicFileMapper {
	t.Helper()
	m, err := dynamicfile.NewDynamicFileMapper(peerconfig.Config{DynamicFileUserIDStrict: strict})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func peerLookup(m *dynamicfile.DynamicFileMapper, userID, canonical string) string {
	username := ""
	got, err := m.Map(&token.Identity{CanonicalARN: canonical, UserID: userID})
	if err == nil {
		username = got.Username
	}
	return found(username, err)
}

// dynamicTest writes dynamic files one after the other over one that maps Old;
// want is whom identities are mapped to at the end. Ours is tested in the
// backend's own table (backend: TestBackendConformance).
func dynamicTest(want string, texts []string, identities ...string) tableTest {
	return tableTest{want: want, theirs: func(t *testing.T) string {
		m := peerDynamic(t, false)
		if err := m.CallBackForFileLoad([]byte(`{"mapRoles":[{"rolearn":"arn:aws:iam::111122223333:role/Old","username":"old"}]}`)); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			_ = m.CallBackForFileLoad([]byte(text)) // want says what stays
		}
		var all []string
		for _, id := range identities {
			all = append(all, peerLookup(m, "", id))
		}
		return strings.Join(all, " ")
	}}
}

// TestOracleLookups: whom an identity is mapped to.
func TestOracleLookups(t *testing.T) {
	role := func(arn string) mapping.Mappings {
		return mapping.Mappings{Roles: []mapping.Entry{{ARN: arn, Username: "u"}}}
	}
	sso := func(s mapping.SSO) mapping.Mappings {
		return mapping.Mappings{Roles: []mapping.Entry{{SSO: &s, Username: "u"}}}
	}
	viewOnly := mapping.SSO{PermissionSetName: "ViewOnlyAccess", AccountID: "012345678912"}
	const (
		old    = "arn:aws:iam::111122223333:role/Old"
		r      = "arn:aws:iam::111122223333:role/R"
		matt   = "arn:aws:iam::012345678912:user/matt"
		rolem  = "arn:aws:iam::012345678912:role/matt"
		stolen = "arn:aws:iam::012345678912:user/alice"
	)
	runTable(t, "pkg/mapping/testdata/mapping-lookups.json", map[string]tableTest{
		"map-case":          mountedTest("u", "ours takes what STS writes, and STS writes arn:aws:iam", role(r), "ARN:AWS:IAM::111122223333:ROLE/r"),
		"map-assumed-file":  mountedTest("u", "", role("arn:aws:sts::012345678910:assumed-role/test-assumed-role/session-name"), "arn:aws:iam::012345678910:role/test-assumed-role"),
		"map-file-badarn":   mountedTest("refused", "", role("not an arn")),
		"map-user-in-roles": mountedTest("u", "", role("arn:aws:iam::111122223333:user/InRoles"), "arn:aws:iam::111122223333:user/InRoles"),
		"map-root":          mountedTest("u", "", role("arn:aws:iam::111122223333:root"), "arn:aws:iam::111122223333:root"),
		"map-sso-nopart": mountedTest("u nobody", "ours wants 16 hexadecimal digits, which IAM Identity Center writes", sso(viewOnly),
			"arn:aws:iam::012345678912:role/awsreservedsso_viewonlyaccess_abcdefg", "arn:aws:iam::012345678912:role/awsreservedsso_billing_hijklmn"),
		"map-sso-prefix": mountedTest("u", "ours takes the permission set exactly", sso(mapping.SSO{PermissionSetName: "Admin", AccountID: "111122223333"}),
			"arn:aws:iam::111122223333:role/awsreservedsso_admin_extra_0123456789abcdef"),
		"map-sso-bad": {want: "refused refused refused", theirs: func(t *testing.T) string { return badSSO(t, true) }, ours: func(t *testing.T) string { return badSSO(t, false) }},
		"modes": {want: "good good bad bad bad", theirs: func(*testing.T) string {
			return modes(func(m []string) bool { return len(mapper.ValidateBackendMode(m)) == 0 })
		}, ours: func(*testing.T) string {
			return modes(func(m []string) bool { _, err := mapping.ParseBackends(m); return err == nil })
		}},
		"dyn-ok": dynamicTest("nobody u nobody", []string{`{"mapRoles":[{"rolearn":"arn:aws:iam::111122223333:role/p/R","username":"u"}]}`},
			old, "arn:aws:iam::111122223333:role/p/r", r),
		"dyn-one-empty": dynamicTest("old nobody", []string{`{"mapRoles":[{"rolearn":"` + r + `","username":"u"},{"username":"x"}]}`}, old, r),
		"dyn-sso":       dynamicTest("old", []string{`{"mapRoles":[{"sso":{"permissionSetName":"Admin","accountID":"111122223333"},"username":"x"}]}`}, old),
		"dyn-badjson":   dynamicTest("old", []string{`{"mapRoles":[{"rolearn":`, "", "mapRoles: []\n"}, old),
		"dyn-badtype":   dynamicTest("old nobody", []string{`{"mapRoles":[{"rolearn":"` + r + `","username":5}]}`}, old, r),
		"dyn-notarn":    dynamicTest("nobody x", []string{`{"mapRoles":[{"rolearn":"junk","username":"x"}]}`}, old, ""),
		"dyn-delete": {want: "nobody u", theirs: func(t *testing.T) string {
			m := peerDynamic(t, false)
			text := []byte(`{"mapRoles":[{"rolearn":"` + r + `","username":"u"}]}`)
			if err := errors.Join(m.CallBackForFileLoad(text), m.CallBackForFileDeletion()); err != nil {
				t.Fatal(err)
			}
			gone := peerLookup(m, "", r)
			if err := m.CallBackForFileLoad(text); err != nil {
				t.Fatal(err)
			}
			return gone + " " + peerLookup(m, "", r)
		}},
		"strict-user":      strictTest("u", `{"userid":"1234","userarn":"`+matt+`","username":"u"}`, "1234", matt),
		"strict-role":      strictTest("u", `{"userid":"1234","rolearn":"`+rolem+`","username":"u"}`, "1234", rolem),
		"strict-path":      strictTest("u", `{"userid":"1234","rolearn":"arn:aws:iam::012345678912:role/path/for/this-role/matt","username":"u"}`, "1234", rolem),
		"strict-mismatch":  strictTest("mismatch", `{"userid":"1234","userarn":"arn:aws:iam::012345678912:user/bob","username":"u"}`, "1234", stolen),
		"strict-malformed": strictTest("mismatch", `{"userid":"AROAAAAAAAAAAAAAAAAAA","rolearn":"not-an-arn","username":"u"}`, "AROAAAAAAAAAAAAAAAAAA", rolem),
		"strict-noarn":     strictTest("u", `{"userid":"1234","username":"u"}`, "1234", matt),
		"strict-assumed":   strictTest("mismatch", `{"userid":"AROA","rolearn":"arn:aws:sts::111122223333:assumed-role/R/s","username":"u"}`, "AROA", r),
	}, map[string]string{
		"map-order-acct": "a matter of the program: pkg/authenticator: TestOracleOrder",
		"map-reserved":   "a matter of the program: pkg/authenticator: TestOracleReserved",
		"crd-status":     "needs the CRD and its controller on an API server",
		"cm-add":         "needs an API server",
	})
}

// badSSO tells which of three damaged SSO entries are refused.
func badSSO(t *testing.T, theirs bool) string {
	t.Helper()
	var all []string
	for _, s := range []mapping.SSO{
		{PermissionSetName: "ViewOnlyAccess", AccountID: "012345678912", Partition: "aws-nk"},
		{PermissionSetName: "ViewOnlyAccess", AccountID: "0123456789"},
		{PermissionSetName: "ViewOnlyAccess*", AccountID: "012345678912"},
	} {
		m := mapping.Mappings{Roles: []mapping.Entry{{SSO: &s, Username: "u"}}}
		test := mountedTest("", "", m)
		if theirs {
			all = append(all, test.theirs(t))
		} else {
			all = append(all, test.ours(t))
		}
	}
	return strings.Join(all, " ")
}

func modes(good func([]string) bool) string {
	var all []string
	for _, m := range [][]string{{"MountedFile", "EKSConfigMap", "CRD"}, {"File", "ConfigMap"}, {"ModeFoo"}, {}, {"MountedFile", "MountedFile"}} {
		all = append(all, map[bool]string{true: "good", false: "bad"}[good(m)])
	}
	return strings.Join(all, " ")
}

// TestOracleARNs: the original's canonical form, its stripping of paths, and its
// wildcards, which ours has none of.
func TestOracleARNs(t *testing.T) {
	data, err := os.ReadFile("../../../pkg/iam/testdata/arn-canonicalisation.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID, ARN, Canonical, Strip, Pattern string
		Match                              any
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			if c.Pattern != "" {
				got, err := arn.ArnLike(c.ARN, c.Pattern)
				switch want := c.Match.(type) {
				case bool:
					if err != nil || got != want {
						t.Errorf("ArnLike = %v, %v; want %v", got, err, want)
					}
				case string:
					if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "error: ")) {
						t.Errorf("ArnLike = %v, %v; want %s", got, err, want)
					}
				default:
					t.Errorf("the case wants %v", want)
				}
				return
			}
			_, canonical, err := arn.Canonicalize(c.ARN)
			if strings.HasPrefix(c.Canonical, "error") != (err != nil) || err == nil && canonical != c.Canonical {
				t.Errorf("Canonicalize = %q, %v; want %s", canonical, err, c.Canonical)
			}
			want := c.Strip
			if want == "same" {
				want = c.ARN
			}
			stripped, err := arn.StripPath(c.ARN)
			if (want == "error") != (err != nil) || err == nil && stripped != want {
				t.Errorf("StripPath = %q, %v; want %s", stripped, err, want)
			}
		})
	}
}
