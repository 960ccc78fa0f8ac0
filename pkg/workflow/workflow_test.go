package workflow

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/spec"
)

const specText = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata:
  name: c1
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: c1}
  identityProviderRefs: [{kind: AWSIamConfig, name: c1}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata:
  name: c1
spec:
  groupBindings: [{group: ops, clusterRole: cluster-admin}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata:
  name: c1
spec:
  awsRegion: us-west-2
  backendMode: [EKSConfigMap]
  mapRoles:
    - {roleARN: "arn:aws:iam::111122223333:role/path/Admin", username: admin, groups: [ops]}
    - {roleARN: "arn:aws:iam::111122223333:role/Session", username: "s:{{SessionName}}", groups: ["g:{{AccountID}}"]}
  mapUsers:
    - {userARN: "arn:aws:iam::111122223333:user/user", username: user}
  mapAccounts: ["123456789012"]
`

// testCluster is a cluster of specText, after edits of it.
func testCluster(t *testing.T, edits ...string) *localCluster {
	t.Helper()
	s, err := spec.Parse("spec.yaml", []byte(strings.NewReplacer(edits...).Replace(specText)))
	if err != nil {
		t.Fatal(err)
	}
	c := &localCluster{m: &Manager{}, workload: workload{spec: s}, record: &local.Record{
		Name: "c1", Namespace: "default", ClusterID: "id", Partition: "aws", Region: "us-west-2",
		BackendMode: []string{"EKSConfigMap"}, Ports: local.Ports{APIServer: 6443},
	}}
	c.simulated()
	return c
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"both kinds", nil, "Admin/presigned Session/presigned user/presigned capiam-example/presigned Admin/JWT Session/JWT user/JWT capiam-example/JWT stranger/presigned stranger/JWT"},
		{"presigned", []string{"  awsRegion", "  tokens: [presigned]\n  awsRegion"}, "Admin/presigned Session/presigned user/presigned capiam-example/presigned stranger/presigned"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, a := range testCluster(t, test.edits...).attempts() {
				got = append(got, a.profile+"/"+string(a.kind))
			}
			if text := strings.Join(got, " "); text != test.want {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
		})
	}
	c := testCluster(t)
	for len(c.identities) < 3*mostLogins {
		c.identities = append(c.identities, c.identities...)
	}
	if got := len(c.attempts()); got != 2*mostLogins+2 {
		t.Errorf("%d attempts of many identities", got)
	}
}

func TestExpected(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	index, _ := mapping.NewIndex([]mapping.Source{{Mappings: c.spec.Mappings()}}, mapping.IndexOptions{Partition: "aws"})
	for _, test := range []struct {
		arn  string
		kind login.TokenKind
		want outcome
	}{
		{"arn:aws:iam::111122223333:role/path/Admin", login.Presigned, outcome{"admin", []string{"ops"}}},
		{"arn:aws:iam::111122223333:role/path/Admin", login.JWT, outcome{"admin", []string{"ops"}}},
		{"arn:aws:iam::111122223333:role/Session", login.Presigned, outcome{"s:capiam", []string{"g:111122223333"}}},
		{"arn:aws:iam::111122223333:role/Session", login.JWT, outcome{}},
		{"arn:aws:iam::111122223333:user/user", login.JWT, outcome{"user", nil}},
		{"arn:aws:iam::123456789012:role/path/any", login.Presigned, outcome{"arn:aws:iam::123456789012:role/any", nil}},
		{"arn:aws:iam::999999999999:role/stranger", login.Presigned, outcome{}},
	} {
		arn, err := iam.ParseARN(test.arn)
		if err != nil {
			t.Fatal(err)
		}
		got := expected(index, attempt{arn: arn, session: "capiam", kind: test.kind}, "")
		if got.username != test.want.username || !slices.Equal(got.groups, test.want.groups) {
			t.Errorf("%s with a %s token: %s, want %s", test.arn, test.kind, got, test.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	in := newOutcome("u", []string{"b", "a", "b", "system:authenticated"})
	for _, test := range []struct {
		want outcome
		got  login.Result
		is   bool
	}{
		{in, login.Result{Username: "u", Groups: []string{"a", "b"}}, true},
		{in, login.Result{Username: "u", Groups: []string{"a"}}, false},
		{in, login.Result{Username: "v", Groups: []string{"a", "b"}}, false},
		{in, login.Result{Refused: true}, false},
		{outcome{}, login.Result{Refused: true}, true},
		{outcome{}, login.Result{Username: "u"}, false},
	} {
		if test.want.is(&test.got) != test.is {
			t.Errorf("%+v is %s: want %t", test.got, test.want, test.is)
		}
	}
}

func TestAudience(t *testing.T) {
	t.Parallel()
	for audiences, want := range map[string]string{"": "id", "[id, aud]": "id", "[aud, id]": "id", "[aud, other]": "aud"} {
		edits := []string{}
		if audiences != "" {
			edits = []string{"  awsRegion", "  audiences: " + audiences + "\n  awsRegion"}
		}
		if got := testCluster(t, edits...).spec.IAM.Spec.TokenAudience("id"); got != want {
			t.Errorf("audiences %q: %s, want %s", audiences, got, want)
		}
	}
}

func TestAWSAuthPlan(t *testing.T) {
	t.Parallel()
	role := func(name, user string) mapping.Entry {
		return mapping.Entry{ARN: "arn:aws:iam::111122223333:role/" + name, Username: user}
	}
	live, _ := mapping.Parse(map[string]string{
		"mapRoles":    "- rolearn: arn:aws:iam::111122223333:role/old\n  username: old\n- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: theirs\n",
		"mapAccounts": "- \"444455556666\"\n",
	})
	last := mapping.Mappings{Roles: []mapping.Entry{role("old", "old")}, Accounts: []string{"444455556666"}}
	p := awsAuthPlan(mapping.NewPlan(last, mapping.Mappings{Roles: []mapping.Entry{role("new", "new")}, Accounts: []string{"123456789012"}}, live))
	if p.empty || len(p.lines) != 4 || len(p.foreign) != 1 || len(p.changed) != 1 || len(p.removed) != 1 ||
		!slices.Equal(p.addedAccounts, []string{"123456789012"}) || !slices.Equal(p.removedAccounts, []string{"444455556666"}) {
		t.Errorf("got %+v", p)
	}
	// Entries of others are no change.
	p = awsAuthPlan(mapping.NewPlan(last, last, live))
	if !p.empty || len(p.lines) != 0 || len(p.foreign) != 1 {
		t.Errorf("got %+v", p)
	}
}

func TestRemovedPrincipals(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	got := c.removedPrincipals(&mappingPlan{
		removed: []mapping.Entry{
			{ARN: "arn:aws:sts::111122223333:assumed-role/dev/s"},
			{ARN: "damaged"},
			{SSO: &mapping.SSO{AccountID: "111122223333", PermissionSetName: "Ops"}},
		},
		removedAccounts: []string{"444455556666"},
	})
	want := []string{
		"arn:aws:iam::111122223333:role/dev",
		"arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef",
		"arn:aws:iam::444455556666:role/account-444455556666",
	}
	var texts []string
	for _, arn := range got {
		texts = append(texts, arn.String())
	}
	if !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	admin := mapping.Mappings{Roles: []mapping.Entry{{ARN: "arn:aws:iam::111122223333:role/a", Username: "a", Groups: []string{"ops"}}}}
	for _, test := range []struct {
		name string
		plan mappingPlan
		o    UpgradeOptions
		ok   bool
	}{
		{"a group with cluster-admin is left", mappingPlan{after: admin}, UpgradeOptions{}, true},
		{"nobody is left", mappingPlan{}, UpgradeOptions{}, false},
		{"nobody is left, as meant", mappingPlan{}, UpgradeOptions{AllowLockout: true}, true},
		{"nothing changes", mappingPlan{empty: true}, UpgradeOptions{}, true},
		{"only the bindings change", mappingPlan{empty: true, settings: true}, UpgradeOptions{}, false},
		{"a broken table is another matter", mappingPlan{broken: true}, UpgradeOptions{}, true},
	} {
		if err := c.guard(&test.plan, test.o); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCheckImmutable(t *testing.T) {
	t.Parallel()
	if err := testCluster(t).checkImmutable(); err != nil {
		t.Errorf("the same spec: %v", err)
	}
	for _, test := range []struct{ old, with, want string }{
		{"awsRegion: us-west-2", "awsRegion: eu-west-1", "awsRegion"},
		{"  awsRegion", "  clusterID: other\n  awsRegion", "clusterID"},
		{"  groupBindings", "  apiServerPort: 7443\n  groupBindings", "apiServerPort"},
	} {
		err := testCluster(t, test.old, test.with).checkImmutable()
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "cannot change") {
			t.Errorf("%s: got %v", test.with, err)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	if got := limit(make([]string, 100)); len(got) != 100 {
		t.Errorf("%d lines of 100", len(got))
	}
	lines := make([]string, 250)
	if got := limit(lines); len(got) != 101 || got[100] != "and 150 more" || lines[100] != "" {
		t.Errorf("%d lines of 250, the last %q", len(got), got[len(got)-1])
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := &Manager{OutputDir: dir}
	o, err := m.outputs("c1")
	if err != nil || o.Dir != filepath.Join(dir, "c1") {
		t.Fatal(o, err)
	}
	if err := o.checkWritable(); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("the check has left %v", entries)
	}
	if o.haveProfiles() {
		t.Error("there are no profiles")
	}
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// With what a killed process left, and a file of the user's own.
	left := filepath.Join(o.Dir, ".aws-credentials.123")
	for _, path := range append(o.all(), left, filepath.Join(o.Dir, "own")) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !o.haveProfiles() {
		t.Error("there are profiles")
	}
	if err := o.remove(); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(o.Dir); len(entries) != 1 || entries[0].Name() != "own" {
		t.Errorf("left are %v", entries)
	}
	if err := os.Remove(filepath.Join(o.Dir, "own")); err != nil {
		t.Fatal(err)
	}
	if err := o.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there (%v)", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{file, filepath.Join(file, "below")} {
		o := Outputs{Dir: below}
		if err := o.checkWritable(); err == nil || !strings.Contains(err.Error(), "--output-dir") {
			t.Errorf("%s: %v", below, err)
		}
	}
}

func TestMadeDirs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b", "c")
	made := madeDirs(deep, filepath.Join(root, "x"))
	if want := []string{deep, filepath.Join(root, "a", "b"), filepath.Join(root, "a"), filepath.Join(root, "x")}; !slices.Equal(made, want) {
		t.Errorf("got %q, want %q", made, want)
	}
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a", "own"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removeEmpty(made)
	if entries, _ := os.ReadDir(filepath.Join(root, "a")); len(entries) != 1 || entries[0].Name() != "own" {
		t.Errorf("left are %v", entries)
	}
}

func TestNoSuchCluster(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	m := &Manager{Store: &local.Store{Root: filepath.Join(t.TempDir(), "clusters")}}
	if _, err := m.Upgrade(t.Context(), c.spec, UpgradeOptions{}); !errors.Is(err, local.ErrNotFound) || !strings.Contains(err.Error(), "capiam create cluster") {
		t.Errorf("upgrade: %v", err)
	}
	if err := m.Delete(t.Context(), "c1", true); !errors.Is(err, local.ErrNotFound) {
		t.Errorf("delete: %v", err)
	}
	if _, err := m.Describe(t.Context(), "c1"); !errors.Is(err, local.ErrNotFound) {
		t.Errorf("describe: %v", err)
	}
	if _, err := m.Mappings(t.Context(), "c1"); !errors.Is(err, local.ErrNotFound) {
		t.Errorf("mappings: %v", err)
	}
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if entries, _ := os.ReadDir(m.Store.Root); len(entries) != 0 {
		t.Errorf("asking has made %v", entries)
	}
}
