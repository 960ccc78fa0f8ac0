package local_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretShapes are what tokens, signatures and keys look like, whoever made
// them.
var secretShapes = []*regexp.Regexp{
	regexp.MustCompile(`k8s-aws-v1\.[A-Za-z0-9_-]{20,}`),
	regexp.MustCompile(`(?i)X-Amz-Signature=[0-9a-f]{16,}`),
	regexp.MustCompile(`(?i)X-Amz-Security-Token=[^\s&]{16,}`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`),
	regexp.MustCompile(`PRIVATE KEY`),
}

// wantNoSecrets looks for secrets where there should be none: in the cluster's
// logs and in what commands have printed.
func (c *cluster) wantNoSecrets(t *testing.T, tokens ...string) {
	t.Helper()
	secrets := append(c.credentials(t), tokens...)
	if len(secrets) == 0 {
		t.Error("no secrets to look for")
	}
	check := func(where string, text []byte) {
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds a secret, %.12s...", where, secret)
			}
		}
		for _, shape := range secretShapes {
			if found := shape.Find(text); found != nil {
				t.Errorf("%s holds something like a secret: %.24s...", where, found)
			}
		}
	}
	c.m.mu.Lock()
	check("what commands printed", c.m.said.Bytes())
	c.m.mu.Unlock()
	logs, err := filepath.Glob(c.layout.Log("*"))
	if err != nil || len(logs) < 3 {
		t.Fatalf("want the logs of three components at least: %q, %v", logs, err)
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check(path, text)
	}
}

// credentials are the secret halves of everybody's AWS credentials.
func (c *cluster) credentials(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(c.layout.STS())
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Identities []struct {
			Credentials struct {
				SecretAccessKey, SessionToken string
			}
		}
	}
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, id := range state.Identities {
		secrets = append(secrets, id.Credentials.SecretAccessKey)
		if id.Credentials.SessionToken != "" {
			secrets = append(secrets, id.Credentials.SessionToken)
		}
	}
	return secrets
}

// token makes a token with capiam.
func (c *cluster) token(profile string, args ...string) string {
	c.m.t.Helper()
	args = append([]string{"token", "-i", c.record().ClusterID, "--token-only"}, args...)
	r := c.m.prepare(c.profiles(profile), "capiam", args...)
	r.quiet = true // it is what the logs are looked through for
	r.begin()
	if r.wait().code != 0 {
		c.m.t.Fatalf("make a token as %s: %s", profile, r.result.stderr)
	}
	return strings.TrimSpace(r.result.stdout)
}
