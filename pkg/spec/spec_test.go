package spec

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// fixtures returns the files of testdata with that prefix.
func fixtures(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", prefix+"*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no fixtures %s*.yaml", prefix)
	}
	return files
}

// golden compares text with a golden file. An empty text has no file.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if text == "" {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			return
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("differs from %s (run with -update to accept):\n%s", file, diff)
	}
}

func TestInvalidFixtures(t *testing.T) {
	t.Parallel()
	for _, file := range fixtures(t, "invalid-") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse("spec.yaml", data)
			if err == nil || s != nil {
				t.Fatalf("Parse = %v, %v; want an error and no spec", s, err)
			}
			var issues Errors
			if !errors.As(err, &issues) || len(issues) == 0 {
				t.Fatalf("error is %T, want Errors", err)
			}
			lines := bytes.Count(data, []byte("\n")) + 1
			for i, issue := range issues {
				if issue.Line > lines {
					t.Errorf("%s: the file has %d lines", issue, lines)
				}
				if issue.Message == "" || strings.Contains(issue.String(), "\n") {
					t.Errorf("%q is not one line that says something", issue)
				}
				if i > 0 && issue.Line < issues[i-1].Line {
					t.Errorf("%s: not sorted by line", issue)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".errors", err.Error()+"\n")
		})
	}
}

func TestValidFixtures(t *testing.T) {
	t.Parallel()
	for _, file := range fixtures(t, "valid-") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse("spec.yaml", data)
			if err != nil {
				t.Fatal(err)
			}
			if s.Cluster == nil || s.IAM == nil || s.Local == nil || s.Name != "local" || s.Namespace != "default" {
				t.Errorf("spec is not complete: %+v", s)
			}
			if !bytes.Equal(s.Raw, data) {
				t.Error("Raw is not the file as it was read")
			}
			var warnings strings.Builder
			for _, w := range s.Warnings {
				warnings.WriteString(w.String() + "\n")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".warnings", warnings.String())
		})
	}
}
