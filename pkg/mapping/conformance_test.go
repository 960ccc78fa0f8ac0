package mapping

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/iam"
)

// readCases reads a file of conformance cases: what aws-iam-authenticator
// v0.7.18 does, and in "ours" what we do instead.
func readCases[T any](t *testing.T, file string) []T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var cases []T
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s: no cases", file)
	}
	return cases
}

// inBackends is where cases are tested that need a file or a watch.
const inBackends = "../authenticator/backend/conformance_test.go"

// runConformance runs the test of each case in a file. A case without a test
// fails, and so does a test without a case; elsewhere are cases that have theirs
// inBackends.
func runConformance(t *testing.T, file string, tests map[string]func(*testing.T), elsewhere ...string) {
	t.Helper()
	known := make(map[string]bool)
	source, err := os.ReadFile(inBackends)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range elsewhere {
		if !strings.Contains(string(source), `"`+id+`":`) {
			t.Errorf("%s has no test in %s", id, inBackends)
		}
	}
	for _, c := range readCases[struct{ ID string }](t, file) {
		known[c.ID] = true
		test, ok := tests[c.ID]
		if !ok {
			if !slices.Contains(elsewhere, c.ID) {
				t.Errorf("%s has no test", c.ID)
			}
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	for id := range tests {
		if !known[id] {
			t.Errorf("test %s has no case", id)
		}
	}
}

func mustARN(t testing.TB, s string) iam.ARN {
	t.Helper()
	a, err := iam.ParseARN(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
