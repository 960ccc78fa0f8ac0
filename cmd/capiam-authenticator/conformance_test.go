package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConformance runs the cases of the client that are this program's own.
func TestConformance(t *testing.T) {
	data, err := os.ReadFile("testdata/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ ID string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*testing.T){"f-cache": testNoCache}
	if len(cases) != len(tests) {
		t.Errorf("%d cases, %d tests", len(cases), len(tests))
	}
	for _, c := range cases {
		test, ok := tests[c.ID]
		if !ok {
			t.Errorf("%s has no test", c.ID)
			continue
		}
		t.Run(c.ID, test)
	}
}

// testNoCache: the cache of credentials is refused when it is asked for, and
// nobody who does not ask gets one.
func testNoCache(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_IAM_AUTHENTICATOR_CACHE_FILE": filepath.Join(home, "cache.yaml"), "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE12345678", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-west-2", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	// What stands in the original's file is nobody's credentials here.
	if err := os.WriteFile(os.Getenv("AWS_IAM_AUTHENTICATOR_CACHE_FILE"), []byte("not YAML: ["), 0o666); err != nil {
		t.Fatal(err)
	}
	status, out, text := command(t.Context(), "token", "-i", "c", "--cache")
	if status != 1 || out != "" || !strings.Contains(text, "--cache is not honoured") {
		t.Errorf("with --cache: %d %q %q", status, out, text)
	}
	if status, out, text = command(t.Context(), "token", "-i", "c"); status != 0 || !strings.Contains(out, "k8s-aws-v1.") {
		t.Errorf("without: %d %q %q", status, out, text)
	}
	var files []string
	if err := filepath.WalkDir(home, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("files were written: %q", files)
	}
}
