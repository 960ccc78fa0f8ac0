package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
)

// execute runs one command and returns what it wrote.
func execute(t *testing.T, newCommand func(streams) *cobra.Command, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := newCommand(streams{in: strings.NewReader(""), out: &out, err: &errOut})
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

// isolate keeps a test away from the user's own kubeconfig, cache and home.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"} {
		t.Setenv(name, t.TempDir())
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "absent"))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, _, err := execute(t, newVersionCommand, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var got versionReport
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version == "" || got.Manifest < 1 || len(got.KubeVersions) < 7 || got.Platform == "" {
		t.Errorf("got %+v", got)
	}
	for format, want := range map[string]string{"table": "Release manifest:  1", "yaml": "manifest: 1\n"} {
		if out, _, err := execute(t, newVersionCommand, "-o", format); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %q, %v; want %q", format, out, err, want)
		}
	}
	if _, _, err := execute(t, newVersionCommand, "-o", "xml"); err == nil {
		t.Error("xml: accepted")
	}
}

func TestGetClient(t *testing.T) {
	isolate(t)
	const uri = "https://distro.eks.amazonaws.com/kubernetes-1-32/releases/40/artifacts/aws-iam-authenticator/v0.7.18-cvefix/aws-iam-authenticator-linux-arm64-v0.7.18-cvefix.tar.gz"
	linux := []string{"--kube-version", "1.32", "--os", "linux", "--arch", "arm64"}
	out, _, err := execute(t, newGetClientCommand, append(linux, "-o", "uri")...)
	if err != nil || out != uri+"\n" {
		t.Errorf("uri: %q, %v", out, err)
	}
	out, _, err = execute(t, newGetClientCommand, linux...)
	if err != nil || !strings.Contains(out, "at download   "+uri) || !strings.HasPrefix(out, "CLIENT") {
		t.Errorf("table: %q, %v", out, err)
	}
	out, _, err = execute(t, newGetClientCommand, append(linux, "-o", "json")...)
	var a release.Asset
	if err != nil || json.Unmarshal([]byte(out), &a) != nil || a.URI != uri || a.Trust != "derived" {
		t.Errorf("json: %q, %v", out, err)
	}
	out, _, err = execute(t, newGetClientCommand, "--kube-version", "1.36", "--all", "--client", "capiam", "-o", "json")
	var list clientList
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Items) != 6 {
		t.Errorf("all: %q, %v", out, err)
	}
}

// TestGetClientWithoutCluster takes the newest version and says so.
func TestGetClientWithoutCluster(t *testing.T) {
	isolate(t)
	out, progress, err := execute(t, newGetClientCommand, "--os", "linux", "--arch", "amd64", "-o", "uri")
	if err != nil || !strings.Contains(out, "/kubernetes-1-36/") || !strings.Contains(progress, "taking Kubernetes 1.36") {
		t.Errorf("%q, %q, %v", out, progress, err)
	}
}

func TestGetClientAsksCluster(t *testing.T) {
	isolate(t)
	authorised := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorised = authorised || r.Header.Get("Authorization") != ""
		_, _ = w.Write([]byte(`{"major":"1","minor":"33","gitVersion":"v1.33.5-eks-1-33-30"}`))
	}))
	defer server.Close()
	config := writeKubeconfig(t, server.URL)
	out, progress, err := execute(t, newGetClientCommand, "--kubeconfig", config, "--os", "linux", "--arch", "amd64", "-o", "uri")
	if err != nil || !strings.Contains(out, "/kubernetes-1-33/") || !strings.Contains(progress, "runs Kubernetes 1.33") {
		t.Errorf("%q, %q, %v", out, progress, err)
	}
	if authorised {
		t.Error("it logged in, which needs the client that is being looked for")
	}
	server.Close()
	if _, _, err := execute(t, newGetClientCommand, "--kubeconfig", config); err == nil || !strings.Contains(err.Error(), "--kube-version") {
		t.Errorf("a named cluster that does not answer: %v", err)
	}
}

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	content := `apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "` + server + `"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: not-installed-yet, interactiveMode: Never}}}]
`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestClientRefuses(t *testing.T) {
	isolate(t)
	bad := filepath.Join(t.TempDir(), "bundles.yaml")
	if err := os.WriteFile(bad, []byte("kind: Bundles\napiVersion: anywhere.eks.amazonaws.com/v1alpha1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"version":       {[]string{"--kube-version", "1.29"}, "1.30, 1.31"},
		"not a version": {[]string{"--kube-version", "latest"}, "want a version such as 1.36"},
		"os":            {[]string{"--kube-version", "1.36", "--os", "plan9", "--arch", "amd64", "--to", "x"}, "linux/amd64"},
		"arch":          {[]string{"--kube-version", "1.36", "--os", "darwin", "--arch", "arm64", "--to", "x"}, "--client capiam"},
		"client":        {[]string{"--kube-version", "1.36", "--client", "kubectl"}, "aws-iam-authenticator, capiam"},
		"override":      {[]string{"--bundles-override", bad}, "bundles.yaml: Bundles: spec.number"},
		"no override":   {[]string{"--bundles-override", bad + "x"}, "no such file"},
		"mirror":        {[]string{"--kube-version", "1.36", "--mirror", "mirror"}, "mirror: want a URL"},
		"no directory":  {[]string{"--kube-version", "1.36", "--os", "plan9"}, "--to"},
		"argument":      {[]string{"now"}, "takes no argument"},
	} {
		stdout, _, err := execute(t, newInstallClientCommand, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || stdout != "" {
			t.Errorf("%s: %v, %q; want %q", name, err, stdout, test.want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("left a directory")
	}
}

// newMirror serves the client the built-in manifest names, as a mirror would.
func newMirror(t *testing.T, a release.Asset, program string) *httptest.Server {
	t.Helper()
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "./" + a.Client, Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Write([]byte(program))
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(a.URI)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive.Bytes())
	mux := http.NewServeMux()
	mux.HandleFunc(u.Path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive.Bytes()) })
	mux.HandleFunc(u.Path+".sha256", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(hex.EncodeToString(sum[:]) + "  " + path.Base(u.Path) + "\n"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestInstallClient(t *testing.T) {
	isolate(t)
	m, err := release.Default()
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Client("1.36", "linux", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	mirror := newMirror(t, a, "the client")
	dir := filepath.Join(t.TempDir(), "bin")
	args := []string{"--kube-version", "1.36", "--os", "linux", "--arch", "amd64", "--mirror", mirror.URL, "--to", dir}
	want := filepath.Join(dir, "aws-iam-authenticator")
	out, progress, err := execute(t, newInstallClientCommand, args...)
	if err != nil || out != want+"\n" {
		t.Fatalf("%q, %q, %v", out, progress, err)
	}
	if data, err := os.ReadFile(want); err != nil || string(data) != "the client" {
		t.Errorf("installed %q, %v", data, err)
	}
	if !strings.Contains(progress, ".tar.gz.sha256 says (the release manifest has no checksum for it)") || !strings.Contains(progress, "✔ installed "+want) {
		t.Errorf("progress:\n%s", progress)
	}
	mirror.Close()
	out, progress, err = execute(t, newInstallClientCommand, args...)
	if err != nil || out != want+"\n" || !strings.Contains(progress, "is this version already") {
		t.Errorf("second run: %q, %q, %v", out, progress, err)
	}
}

func TestClientCompletion(t *testing.T) {
	t.Parallel()
	for _, newCommand := range []func(streams) *cobra.Command{newGetClientCommand, newInstallClientCommand} {
		cmd := newCommand(streams{})
		complete, ok := cmd.GetFlagCompletionFunc("kube-version")
		if !ok {
			t.Fatal("no completion")
		}
		cmd.SetContext(context.Background())
		if got, _ := complete(cmd, nil, ""); len(got) < 7 || got[0] != "1.30" {
			t.Errorf("completion %v", got)
		}
	}
}
