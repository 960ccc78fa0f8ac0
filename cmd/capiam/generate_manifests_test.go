package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const generateSpec = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata:
  name: edge
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: edge}
  identityProviderRefs: [{kind: AWSIamConfig, name: edge}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata:
  name: edge
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata:
  name: edge
spec:
  awsRegion: us-west-2
  backendMode: [EKSConfigMap]
  mapRoles:
    - roleARN: arn:aws:iam::111122223333:role/Admin
      username: admin
      groups: [system:masters]
`

// runGenerate runs "capiam generate manifests" with a spec on standard input.
func runGenerate(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := newGenerateCommand(streams{in: strings.NewReader(generateSpec), out: &out, err: &errOut})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(append([]string{"manifests"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func TestGenerateManifestsToStandardOutput(t *testing.T) {
	t.Parallel()
	stdout, stderr, err := runGenerate(t, "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind: DaemonSet", "name: aws-auth", "arn:aws:iam::111122223333:role/Admin"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if !strings.HasPrefix(stdout, "---\n") {
		t.Errorf("standard output holds something else than YAML:\n%s", stdout)
	}
	if !strings.Contains(stderr, "cluster ID") || strings.Contains(stderr, "PRIVATE KEY") {
		t.Errorf("standard error:\n%s", stderr)
	}
}

func TestGenerateManifestsToDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	if _, stderr, err := runGenerate(t, "-f", "-", "-o", dir); err != nil || strings.Contains(stderr, "PRIVATE KEY") {
		t.Fatalf("%v\n%s", err, stderr)
	}
	ca := filepath.Join(dir, "pki", "ca-cert.pem")
	// The API server's CA may be any certificate.
	stdout, stderr, err := runGenerate(t, "-f", "-", "-o", dir, "--server", "https://192.0.2.1:6443", "--certificate-authority", ca)
	if err != nil || stdout != "" {
		t.Fatalf("%v, standard output %q", err, stdout)
	}
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "written") != strings.Contains(line, "edge-aws.kubeconfig") && !strings.HasPrefix(line, "warning") {
			t.Errorf("the second time: %s", line)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "edge-aws.kubeconfig")); err != nil {
		t.Error(err)
	}
}

func TestGenerateManifestsRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no spec", nil, "no spec file named"},
		{"no such spec", []string{"-f", filepath.Join(dir, "none.yaml")}, "none.yaml"},
		{"a file for a directory", []string{"-f", "-", "-o", file}, "directory"},
		{"half a CA", []string{"-f", "-", "--ca-cert", file}, "ca-key"},
		{"no CA", []string{"-f", "-", "--ca-cert", file, "--ca-key", file}, "no certificate"},
		{"a server without its CA", []string{"-f", "-", "--server", "https://x"}, "certificate-authority"},
		{"a server in plain text", []string{"-f", "-", "--server", "http://x", "--certificate-authority", file}, "https://"},
		{"an argument", []string{"-f", "-", "more"}, "more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, _, err := runGenerate(t, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if stdout != "" {
				t.Errorf("standard output %q", stdout)
			}
		})
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "text" {
		t.Errorf("the file in the way holds %q, %v", data, err)
	}
}
