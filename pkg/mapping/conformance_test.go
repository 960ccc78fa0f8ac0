package mapping

import (
	"encoding/json"
	"os"
	"path/filepath"
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

// runConformance runs the test of each case in a file. A case without a test
// fails, and so does a test without a case; elsewhere says, by case, where
// else it is tested or why it cannot be here.
func runConformance(t *testing.T, file string, tests map[string]func(*testing.T), elsewhere map[string]string) {
	t.Helper()
	known := make(map[string]bool)
	for _, c := range readCases[struct{ ID string }](t, file) {
		known[c.ID] = true
		test, ok := tests[c.ID]
		if !ok {
			if elsewhere[c.ID] == "" {
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
