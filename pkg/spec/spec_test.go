package spec

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
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

// readFixture reads the files that fixtures name, as if they lay beside a spec
// in testdata.
func readFixture(path string) ([]byte, error) {
	return fs.ReadFile(os.DirFS("testdata"), filepath.ToSlash(path))
}

// incomplete says what a Spec lacks that comes without an error, or returns
// nothing.
func incomplete(s *Spec) string {
	datacenters := 0
	for _, there := range []bool{s.Local != nil, s.Docker != nil, s.ClusterAPI != nil} {
		if there {
			datacenters++
		}
	}
	switch {
	case s.Cluster == nil || s.Name == "" || s.Namespace == "":
		return "it has no cluster"
	case datacenters != 1:
		return fmt.Sprintf("it has %d datacenters", datacenters)
	case s.IAM == nil && s.Local != nil:
		return "it has no IAM on a local cluster"
	case s.ClusterAPI == nil && len(s.Objects) > 0:
		return "it has objects that nothing will be done with"
	case s.ClusterAPI != nil && (s.ClusterAPI.Spec.ClusterName == "" || s.ClusterAPI.Spec.Namespace == ""):
		return "it names no Cluster of Cluster API's"
	}
	for _, o := range s.Objects {
		var again struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal(o.Text, &again); err != nil {
			return fmt.Sprintf("%s:%d: the text does not parse: %v\n%s", o.File, o.Line, err, o.Text)
		}
		if again.APIVersion != o.APIVersion || again.Kind != o.Kind || again.Metadata.Name != o.Name || again.Metadata.Namespace != o.Namespace ||
			o.APIVersion == "" || o.Kind == "" || o.Name == "" {
			return fmt.Sprintf("%s:%d: the text has %+v, and the object is %s %s %s/%s", o.File, o.Line, again, o.APIVersion, o.Kind, o.Namespace, o.Name)
		}
	}
	return ""
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
			s, err := ParseFiles("spec.yaml", data, readFixture)
			if err == nil || s != nil {
				t.Fatalf("ParseFiles = %v, %v; want an error and no spec", s, err)
			}
			var issues Errors
			if !errors.As(err, &issues) || len(issues) == 0 {
				t.Fatalf("error is %T, want Errors", err)
			}
			lines := bytes.Count(data, []byte("\n")) + 1
			for i, issue := range issues {
				if issue.File == "spec.yaml" && issue.Line > lines {
					t.Errorf("%s: the file has %d lines", issue, lines)
				}
				if issue.Message == "" || strings.Contains(issue.String(), "\n") {
					t.Errorf("%q is not one line that says something", issue)
				}
				if i > 0 && issue.File == issues[i-1].File && issue.Line < issues[i-1].Line {
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
			s, err := ParseFiles("spec.yaml", data, readFixture)
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != "local" || s.Namespace != "default" {
				t.Errorf("the cluster is %s/%s, want default/local", s.Namespace, s.Name)
			}
			if message := incomplete(s); message != "" {
				t.Error(message)
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
