// Package conformance keeps the tables of conformance cases whole: what
// aws-iam-authenticator v0.7.18 does, case by case, each file beside the tests
// that run it.
package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// table is a part of the cases: those whose IDs begin with one of the prefixes,
// in a file of the repository.
type table struct {
	name     string
	file     string
	prefixes []string
	cases    int
}

const presignedTable = "pkg/authenticator/presigned/testdata/conformance.json"

// tables are all there are, and how many cases each has. A case that is taken
// out has to be taken out here, too.
var tables = []table{
	{"accepted", presignedTable, []string{"ok-"}, 5},
	{"query-parameters", presignedTable, []string{"q-", "sh-"}, 20},
	{"time", presignedTable, []string{"exp-", "date-"}, 9},
	{"token-string", presignedTable, []string{"tok-"}, 9},
	{"url-shape", presignedTable, []string{"url-"}, 13},
	{"hosts", presignedTable, []string{"host-"}, 65},
	{"hosts", "pkg/iam/testdata/hosts.json", []string{"host-"}, 65},
	{"arn-canonicalisation", "pkg/iam/testdata/arn-canonicalisation.json", []string{"arn-", "like-"}, 31},
	{"aws-auth-parsing", "pkg/mapping/testdata/aws-auth-parsing.json", []string{"cm-"}, 26},
	{"mapping-lookups", "pkg/mapping/testdata/mapping-lookups.json", []string{"map-", "modes", "crd-", "cm-add", "dyn-", "strict-"}, 27},
	{"templates", "pkg/mapping/testdata/templates.json", []string{"t-"}, 11},
	{"sts-answers", "pkg/authenticator/stsclient/testdata/answers.json", []string{"sts-", "id-"}, 19},
	{"webhook-endpoint", "pkg/authenticator/testdata/webhook-endpoint.json", []string{"w-"}, 14},
	{"kube-apiserver-reactions", "test/faults/testdata/kube-apiserver-reactions.json", []string{"a-"}, 16},
	{"client", "pkg/token/testdata/client.json", []string{"c-gen", "c-dual"}, 2},
	{"client", "pkg/token/testdata/exec.json", []string{"c-exec"}, 2},
	{"client", "pkg/authenticator/servingcert/testdata/client.json", []string{"u-"}, 2},
	{"client", "cmd/capiam-authenticator/testdata/client.json", []string{"f-"}, 1},
}

// TestTablesAreWhole: each table has all its cases, once, and no other.
func TestTablesAreWhole(t *testing.T) {
	t.Parallel()
	ids := map[string][]string{}
	for _, tab := range tables {
		if _, read := ids[tab.file]; !read {
			ids[tab.file] = caseIDs(t, tab.file)
		}
		n := 0
		ids[tab.file] = slices.DeleteFunc(ids[tab.file], func(id string) bool {
			if !slices.ContainsFunc(tab.prefixes, func(p string) bool { return strings.HasPrefix(id, p) }) {
				return false
			}
			n++
			return true
		})
		if n != tab.cases {
			t.Errorf("%s: %d cases in %s, want %d", tab.name, n, tab.file, tab.cases)
		}
	}
	for file, left := range ids {
		if len(left) > 0 {
			t.Errorf("%s: cases of no table: %q", file, left)
		}
	}
}

// caseIDs returns the IDs in a file. An entry without one is of ours alone.
func caseIDs(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ ID string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var ids []string
	for _, c := range cases {
		if slices.Contains(ids, c.ID) && c.ID != "" {
			t.Errorf("%s: %s is there twice", file, c.ID)
		}
		if c.ID != "" {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
