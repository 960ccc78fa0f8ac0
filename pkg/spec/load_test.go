package spec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/mapping"
)

// minimal is a spec with nothing in it that could be left out.
const minimal = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: local}
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: local}
  identityProviderRefs: [{kind: AWSIamConfig, name: iam}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata: {name: local}
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata: {name: iam}
spec:
  awsRegion: us-west-2
  backendMode: [EKSConfigMap]
`

const oneRole = `  mapRoles:
  - {roleARN: "arn:aws:iam::111122223333:role/Admin", username: admin, groups: ["system:masters"]}
`

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "spec.yaml")
	if err := os.WriteFile(file, []byte(minimal+oneRole), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.File != file {
		t.Errorf("File = %q, want %q", s.File, file)
	}
	s, err = Load("-", strings.NewReader(minimal+oneRole))
	if err != nil {
		t.Fatal(err)
	}
	if s.File != StdinName {
		t.Errorf("File = %q, want %q", s.File, StdinName)
	}
	if _, err := Load("-", strings.NewReader("kind: Fruit\n")); err == nil || !strings.HasPrefix(err.Error(), "<stdin>:") {
		t.Errorf("error = %v, want it to name <stdin>", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("#", MaxBytes+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		stdin      io.Reader
		want       string
		is         error
	}{
		{name: "no path", path: "", want: "no spec file named"},
		{name: "missing file", path: filepath.Join(dir, "missing.yaml"), want: "missing.yaml", is: fs.ErrNotExist},
		{name: "directory", path: dir, want: "is a directory"},
		{name: "too large", path: large, want: "larger than 4 MiB"},
		{name: "endless standard input", path: "-", stdin: zeroes{}, want: "larger than 4 MiB"},
		{name: "no standard input", path: "-", want: "no standard input"},
		{name: "broken standard input", path: "-", stdin: broken{}, want: "cable cut"},
		{name: "empty standard input", path: "-", stdin: strings.NewReader(""), want: "<stdin>: holds no objects"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(tt.path, tt.stdin)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error = %v, want it to wrap %v", err, tt.is)
			}
		})
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cable cut") }

func TestDefaults(t *testing.T) {
	t.Parallel()
	s, err := Parse("spec.yaml", []byte(minimal+oneRole))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}
	if got := s.Cluster.Spec.KubernetesVersion; got != v1alpha1.LocalKubernetesVersion {
		t.Errorf("kubernetesVersion = %q", got)
	}
	want := v1alpha1.AWSIamConfigSpec{
		AWSRegion:   "us-west-2",
		Partition:   "aws",
		BackendMode: []string{"EKSConfigMap"},
		MapRoles:    []v1alpha1.MapRole{{RoleARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin", Groups: []string{"system:masters"}}},
		Tokens:      []string{"presigned", "jwt"},
		Server:      v1alpha1.ServerSpec{Implementation: "capiam"},
		Client:      v1alpha1.ClientSpec{Command: "capiam"},
	}
	if diff := cmp.Diff(want, s.IAM.Spec); diff != "" {
		t.Errorf("AWSIamConfig:\n%s", diff)
	}
	bindings := []v1alpha1.GroupBinding{{Group: "capiam:edit", ClusterRole: "edit", Namespace: "default"}, {Group: "capiam:view", ClusterRole: "view"}}
	if diff := cmp.Diff(bindings, s.Local.Spec.GroupBindings); diff != "" {
		t.Errorf("group bindings:\n%s", diff)
	}
	for name, namespace := range map[string]string{"Spec": s.Namespace, "Cluster": s.Cluster.Namespace, "AWSIamConfig": s.IAM.Namespace, "LocalDatacenterConfig": s.Local.Namespace} {
		if namespace != "default" {
			t.Errorf("%s: namespace = %q, want default", name, namespace)
		}
	}
}

func TestEmptyGroupBindingsStay(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/valid-no-group-bindings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("spec.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if b := s.Local.Spec.GroupBindings; b == nil || len(b) > 0 {
		t.Errorf("group bindings = %v, want an empty list", b)
	}
}

func TestMergeKeys(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/valid-anchors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("spec.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	masters := []string{"system:masters"}
	want := mapping.Mappings{
		Roles: []mapping.Entry{
			{ARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin", Groups: masters},
			{ARN: "arn:aws:iam::111122223333:role/Second", Username: "admin", Groups: masters},
			{ARN: "arn:aws:iam::111122223333:role/Third", Username: "third", Groups: masters},
		},
		Users: []mapping.Entry{{ARN: "arn:aws:iam::111122223333:user/admin", Username: "admin", Groups: masters}},
	}
	if diff := cmp.Diff(want, s.Mappings()); diff != "" {
		t.Error(diff)
	}
}

func TestConfigMapSize(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(minimal + "  mapUsers:\n")
	for i := range 12_000 {
		fmt.Fprintf(&b, "  - userARN: arn:aws:iam::111122223333:user/someone-%d\n    username: someone-%d\n    groups: [team]\n", i, i)
	}
	_, err := Parse("spec.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap") {
		t.Errorf("error = %v, want one about the ConfigMap's size", err)
	}
}

func TestIssuesAreBounded(t *testing.T) {
	t.Parallel()
	_, err := Parse("spec.yaml", []byte(strings.Repeat("---\nkind: Fruit\n", maxDocuments+1)))
	if err == nil || !strings.Contains(err.Error(), "more than 200 documents") {
		t.Errorf("error = %v, want one about the number of documents", err)
	}
	var b strings.Builder
	b.WriteString(minimal)
	for i := range 5_000 {
		fmt.Fprintf(&b, "  field%d: 0\n", i)
	}
	_, err = Parse("spec.yaml", []byte(b.String()))
	var issues Errors
	if !errors.As(err, &issues) {
		t.Fatalf("error is %T", err)
	}
	if len(issues) != maxIssues+1 || !strings.Contains(issues[maxIssues].Message, "more problems") {
		t.Errorf("%d issues, the last %q; want %d and one that counts the others", len(issues), issues[len(issues)-1], maxIssues)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"utf-16", "\xff\xfek\x00i\x00", "spec.yaml: saved as UTF-16: save it as UTF-8"},
		{"latin-1", "a: b\n# caf\xe9\n", "spec.yaml:2: not UTF-8: save the file as UTF-8"},
		{"nul", "a: b\r\nc: \x00\r\n", "spec.yaml:2: holds the control character 0x00: a spec is plain text"},
		{"line separator", "a: b\rc: d\u2028---\n", "spec.yaml:2: holds the line separator U+2028: use an ordinary line break"},
		{"second byte order mark", "\ufeffa: b\n\ufeffc: d\n", "spec.yaml:2: has a byte order mark in the middle: two files were joined; remove it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("spec.yaml", []byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

// TestLineBreaks shows that no kind of line break loses a document or shifts a
// line.
func TestLineBreaks(t *testing.T) {
	t.Parallel()
	text := minimal + oneRole + "  colour: blue\n"
	want := fmt.Sprintf("spec.yaml:%d: ", strings.Count(text, "\n"))
	for name, lineBreak := range map[string]string{"LF": "\n", "CRLF": "\r\n", "CR": "\r"} {
		_, err := Parse("spec.yaml", []byte(strings.ReplaceAll(text, "\n", lineBreak)))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error = %v, want only the one on line %s", name, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"roleARN", "username", "groups", "tokenIssuers"}
	tests := []struct {
		name, want string
		exact      bool
	}{
		{"rolearn", "roleARN", true},
		{"usernmae", "username", false},
		{"group", "groups", false},
		{"tokenIsuers", "tokenIssuers", false},
		{"user", "username", false},
		{"colour", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		got, exact := nearest(tt.name, names)
		if got != tt.want || exact != tt.exact {
			t.Errorf("nearest(%q) = %q, %v; want %q, %v", tt.name, got, exact, tt.want, tt.exact)
		}
	}
}

// FuzzParse shows that no file makes the reader panic, run without end or say
// nothing: it gives a complete spec, or problems with lines the file has.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("%YAML 1.1\n%TAG ! x\n--- !x\n"))
	f.Add([]byte("kind: \"Fru\\nit\\e[31m\"\n\"a\\tb\": c\n"))
	f.Add([]byte("? {a: *a}\n: &a {<<: [*a]}\n"))
	f.Add([]byte("--- |\n---\n--- >\n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("spec.yaml", data)
		if err == nil {
			if message := incomplete(s); message != "" {
				t.Fatal(message)
			}
			s.Identities()
			return
		}
		if s != nil {
			t.Fatalf("an error and %+v", s)
		}
		checkIssues(t, err, map[string]string{"spec.yaml": string(data)})
	})
}

// checkIssues checks that an error is of lines that the files have, and safe to
// print.
func checkIssues(t *testing.T, err error, files map[string]string) {
	t.Helper()
	var issues Errors
	if !errors.As(err, &issues) || len(issues) == 0 {
		t.Fatalf("error is %T, want Errors", err)
	}
	for _, issue := range issues {
		text, ok := files[filepath.ToSlash(issue.File)]
		lines := strings.Count(strings.ReplaceAll(text, "\r", "\n"), "\n") + 1
		if !ok || issue.Line < 0 || issue.Line > lines || issue.Message == "" {
			t.Fatalf("%+v: the file has %d lines", issue, lines)
		}
		if strings.ContainsFunc(issue.String(), unicode.IsControl) {
			t.Fatalf("%q would reach the terminal", issue)
		}
	}
}
