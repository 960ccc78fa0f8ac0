package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func execute(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// TestManifest generates in a copy, checks, and finds an edit.
func TestManifest(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "release")
	if err := os.CopyFS(filepath.Join(dir, "sources"), os.DirFS("../sources")); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, newManifestCommand(), "--dir", dir, "--check"); err == nil || !strings.Contains(err.Error(), "make release-manifest") {
		t.Errorf("missing files: %v", err)
	}
	out, err := execute(t, newManifestCommand(), "--dir", dir)
	if err != nil || !strings.Contains(out, "bundles.yaml") || !strings.Contains(out, "kubernetes-1-36-eks-") {
		t.Errorf("generated %q, %v", out, err)
	}
	if out, err := execute(t, newManifestCommand(), "--dir", dir, "--check"); err != nil || out != "" {
		t.Errorf("check: %q, %v", out, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "capiam.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, newManifestCommand(), "--dir", dir, "--check"); err == nil || !strings.HasPrefix(err.Error(), "capiam.yaml: not up to date") {
		t.Errorf("edited file: %v", err)
	}
	if _, err := execute(t, newManifestCommand(), "--dir", dir, "--pin", "kubernetes-1-36-eks-7"); err == nil {
		t.Error("--pin without --refresh: accepted")
	}
}

func TestReleaseFlagsRefuse(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "dist")
	for want, args := range map[string][]string{
		"want one such as v0.1.0": {"--version", "1.0"},
		`platform "linux/386"`:    {"--version", "v1.0.0", "--platform", "linux/386"},
		"name it with --commit":   {"--version", "v1.0.0", "--tree", t.TempDir()},
		`"version" not set`:       nil,
	} {
		for _, newCommand := range []func() *cobra.Command{newReleaseCommand, newImageCommand} {
			if _, err := execute(t, newCommand(), append(args, "--out", out)...); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q", args, err, want)
			}
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left a directory")
	}
}

func TestDate(t *testing.T) {
	f := releaseFlags{}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if got, err := f.date(t.Context()); err != nil || !got.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("date %v, %v", got, err)
	}
	for _, bad := range []string{"yesterday", "-1", "1.5"} {
		t.Setenv("SOURCE_DATE_EPOCH", bad)
		if _, err := f.date(t.Context()); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}
