package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

// tokenProcess runs "capiam token" in a process of its own, because net/http
// reads HTTPS_PROXY only once in a process. TestMain has put a capiam into PATH
// that is this very program.
func tokenProcess(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "capiam", append([]string{"token"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// TestTokenCommand goes the way kubectl goes: environment, profile, proxy.
func TestTokenCommand(t *testing.T) {
	dir := t.TempDir()
	state, err := stssim.NewState(stssim.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := stssim.New(state, stssim.Options{})
	proxy, err := stssim.ListenProxy(context.Background(), server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	arn, err := iam.ParseARN("arn:aws:iam::111122223333:role/Dev")
	if err != nil {
		t.Fatal(err)
	}
	profiles := []stssim.Profile{{Name: "dev", Region: "eu-central-1", Credentials: *state.Ensure(stssim.Identity{Profile: "dev", ARN: arn})}}
	if err := stssim.WriteProfiles(dir, profiles); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, state.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE":             filepath.Join(dir, stssim.ConfigFile),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, stssim.CredentialsFile),
		"AWS_CA_BUNDLE":               ca,
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_PROFILE":                 "dev",
		"HTTPS_PROXY":                 proxy.URL(),
		"KUBERNETES_EXEC_INFO":        `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`,
	} {
		t.Setenv(name, value)
	}

	for name, args := range map[string][]string{
		"presigned": {"-i", "c1"},
		"jwt":       {"-i", "c1", "--jwt"},
		"assumed":   {"-i", "c1", "--role", "arn:aws:iam::111122223333:role/Dev", "--session-name", "ci"},
	} {
		stdout, stderr, err := tokenProcess(t, args...)
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, stderr)
			continue
		}
		var cred struct {
			Kind, APIVersion string
			Status           struct {
				Token               string
				ExpirationTimestamp time.Time
			}
		}
		if err := json.Unmarshal([]byte(stdout), &cred); err != nil {
			t.Fatal(err)
		}
		if cred.Kind != "ExecCredential" || cred.APIVersion != "client.authentication.k8s.io/v1" || !strings.HasPrefix(cred.Status.Token, token.Prefix) {
			t.Errorf("%s: printed a %s of %s", name, cred.Kind, cred.APIVersion)
		}
		if !cred.Status.ExpirationTimestamp.After(time.Now()) {
			t.Errorf("%s: expired at %s", name, cred.Status.ExpirationTimestamp)
		}
		if jwt := strings.Count(cred.Status.Token, ".") == 3; jwt != (name == "jwt") {
			t.Errorf("%s: the token is of the other kind", name)
		}
		if stderr != "" {
			t.Errorf("%s: standard error has %q", name, stderr)
		}
	}
	if stdout, _, err := tokenProcess(t, "-i", "c1", "--token-only"); err != nil || !strings.HasPrefix(stdout, token.Prefix) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("--token-only: %v", err)
	}

	if stdout, stderr, err := tokenProcess(t, "-i", "c1", "--role", "arn:aws:iam::111122223333:role/Nobody"); err == nil || stdout != "" || !strings.Contains(stderr, "not authorized") {
		t.Errorf("role of nobody: %v: %s", err, stderr)
	}

	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no cluster":         {nil, "cluster-id"},
		"an argument":        {[]string{"-i", "c1", "c2"}, "takes no argument"},
		"audience alone":     {[]string{"-i", "c1", "--audience", "a"}, "--audience goes with --jwt"},
		"algorithm":          {[]string{"-i", "c1", "--jwt", "--algorithm", "HS256"}, "RS256"},
		"profile":            {[]string{"-i", "c1", "--profile", "nobody"}, "aws configure list-profiles"},
		"session, no role":   {[]string{"-i", "c1", "--session-name", "ci"}, "role to assume"},
		"region of nonsense": {[]string{"-i", "c1", "--region", "x"}, "not the name of an AWS region"},
	} {
		stdout, _, err := execute(t, newTokenCommand, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
		if stdout != "" {
			t.Errorf("%s: standard output has %q", name, stdout)
		}
	}

	t.Setenv("KUBERNETES_EXEC_INFO", `{"apiVersion":"client.authentication.k8s.io/v1alpha1"}`)
	if _, _, err := execute(t, newTokenCommand, "-i", "c1"); err == nil || !strings.Contains(err.Error(), "v1alpha1") {
		t.Errorf("v1alpha1: %v", err)
	}
}
