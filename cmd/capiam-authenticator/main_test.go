package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// command runs the command line and returns its status and output.
func command(ctx context.Context, args ...string) (status int, out, err string) {
	var o, e buffer
	status = Run(ctx, streams{in: strings.NewReader(""), out: &o, err: &e}, args)
	return status, o.String(), e.String()
}

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := writeConfig(t, dir, "clusterID: c\nserver:\n  prot: 1\ndefaultRole: x\n")
	good := filepath.Join(t.TempDir(), "good.yaml")
	if err := os.WriteFile(good, []byte("clusterID: c\nserver: {mapRoles: [{rolearn: junk, username: x}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := writeConfig(t, t.TempDir(), "")
	strict := writeConfig(t, t.TempDir(), "clusterID: c\nserver: {tokens: [jwt], audiences: [a], tokenIssuers: [{issuerURL: \"https://00000000-0000-0000-0000-000000000000.tokens.sts.global.api.aws\", accountID: \"111122223333\"}]}\n")
	newRegion := writeConfig(t, t.TempDir(), "clusterID: c\nserver: {partition: aws-cn, region: not-a-region2}\n")
	inNewRegion := "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte("https://sts.not-a-region2.amazonaws.com.cn/?x=1"))
	dynamic := writeConfig(t, t.TempDir(), "clusterID: c\nserver: {dynamicfilepath: /x}\n")
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"flag", []string{"server", "--nonsense"}, []string{"unknown flag: --nonsense"}},
		{"no cluster ID", []string{"server"}, []string{"clusterID: must not be empty"}},
		{"no file", []string{"server", "-c", filepath.Join(dir, "absent")}, []string{"absent: no such file"}},
		{"keys", []string{"server", "-c", config}, []string{"config.yaml:3: server.prot: unknown key", "config.yaml:4: defaultRole: not honoured"}},
		{"backend", []string{"server", "-i", "c", "--backend-mode", "ModeFoo"}, []string{`unknown backend mode "ModeFoo"`}},
		{"gate", []string{"server", "-i", "c", "--feature-gates", "Foo=true"}, []string{`unknown gate "Foo"`}},
		{"gate off by another spelling", []string{"server", "-i", "c", "--feature-gates", "SSORoleMatch=F"}, []string{"SSORoleMatch=F is not honoured"}},
		{"gate without a value", []string{"token", "-i", "c", "--feature-gates", "SSORoleMatch"}, []string{"want SSORoleMatch=true"}},
		{"gate off", []string{"server", "-i", "c", "--feature-gates", "SSORoleMatch=false"}, []string{"always on here"}},
		{"log level", []string{"server", "-i", "c", "-v", "loud"}, []string{`unknown level "loud"`}},
		{"log format", []string{"server", "-i", "c", "-l", "xml"}, []string{`unknown format "xml"`}},
		{"mounted mapping", []string{"server", "-c", good, "--state-dir", t.TempDir(), "--kubeconfig-pregenerated"}, []string{"junk"}},
		{"no API server", []string{"server", "-i", "c", "--backend-mode", "EKSConfigMap", "--state-dir", t.TempDir(), "--kubeconfig-pregenerated", "--kubeconfig", "/absent"}, []string{"no way to the API server"}},
		{"dynamic file nobody reads", []string{"server", "-c", dynamic}, []string{"server.dynamicfilepath: is set, but DynamicFile is not among the backends", "--backend-mode"}},
		{"flag out of range", []string{"server", "-i", "c", "--ec2-describeInstances-qps", "0", "--token-cache-size=-1"}, []string{"--ec2-describeInstances-qps: want a whole number of at least 1, got 0", "--token-cache-size: "}},
		{"another machine's address", []string{"server", "-i", "c", "--address", "192.0.2.1", "--state-dir", t.TempDir(), "--kubeconfig-pregenerated"}, []string{"webhook: cannot listen"}},
		{"token without a file", []string{"token", "-i", "c", "-c", filepath.Join(dir, "absent")}, []string{"absent: no such file"}},
		{"token's file", []string{"token", "-c", config}, []string{"config.yaml:3: server.prot: unknown key"}},
		{"token without a cluster ID", []string{"token", "-c", empty}, []string{"no cluster ID"}},
		{"token's cache", []string{"token", "-i", "c", "--cache"}, []string{"--cache is not honoured"}},
		{"verify nothing", []string{"verify", "-i", "c"}, []string{"no token"}},
		{"verify as the server: kind of token", []string{"verify", "-c", strict, "-t", "k8s-aws-v1.aHR0cHM6Ly8"}, []string{"token_kind_off"}},
		{"verify as the server: own region", []string{"verify", "-c", newRegion, "-t", inNewRegion}, []string{`query parameter "x"`}},
		{"verify junk", []string{"verify", "-i", "c", "-t", "k8s-aws-v1.junk"}, []string{"malformed_token"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status, _, text := command(context.Background(), tc.args...)
			if status != 1 {
				t.Errorf("status %d", status)
			}
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("got %q, want %q", text, want)
				}
			}
		})
	}
}

func TestServerRunsAndStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := writeConfig(t, dir, `clusterID: from-file
log-verbosity: debug
server:
  port: 1
  healthPort: 1
  stateDir: `+dir+`
  generateKubeconfig: `+dir+`/kubeconfig
  mapUsers:
  - userarn: arn:aws:iam::111122223333:user/A
    username: a
`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, log buffer
	done := make(chan int, 1)
	go func() {
		// Flags come before the file.
		done <- Run(ctx, streams{in: strings.NewReader(""), out: &out, err: &log}, []string{"server", "-c", config, "--port", "0", "--health-port=0", "-l", "json", "-i", "from-flag"})
	}()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(log.String(), `"msg":"serving"`) {
		select {
		case status := <-done:
			t.Fatalf("status %d: %s", status, log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if !strings.Contains(log.String(), `"clusterID":"from-flag"`) {
		t.Error(log.String())
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d: %s", status, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestTokenClusterID(t *testing.T) { // not parallel: it sets the environment
	file := writeConfig(t, t.TempDir(), "clusterID: of-the-file\n")
	for _, tc := range []struct{ flag, env, file, want string }{
		{"of-the-flag", "of-the-environment", file, "of-the-flag"},
		{"", "of-the-environment", file, "of-the-environment"},
		{"", "", file, "of-the-file"},
	} {
		t.Setenv(envClusterID, tc.env)
		g := globals{clusterID: tc.flag, configFile: tc.file}
		if got, err := g.tokenClusterID(); err != nil || got != tc.want {
			t.Errorf("got %q, %v, want %q", got, err, tc.want)
		}
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	// What the file says of backends need not be whole: the server's flag may be
	// part of it.
	config := writeConfig(t, dir, "clusterID: c\nserver:\n  port: 1234\n  stateDir: "+state+"\n  generateKubeconfig: "+dir+"/kubeconfig\n  dynamicfilepath: /x\n")
	args := []string{"init", "-c", config, "--hostname", "example.com"}
	status, _, text := command(context.Background(), args...)
	if status != 0 || !strings.Contains(text, "wrote "+state+"/cert.pem\n") || !strings.Contains(text, "wrote "+dir+"/kubeconfig\n") {
		t.Fatal(text)
	}
	kubeconfig := read(t, filepath.Join(dir, "kubeconfig"))
	if !strings.Contains(kubeconfig, "server: https://example.com:1234/authenticate") {
		t.Error(kubeconfig)
	}
	if info, err := os.Stat(filepath.Join(state, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	cert := read(t, filepath.Join(state, "cert.pem"))

	status, _, text = command(context.Background(), args...)
	if status != 0 || !strings.Contains(text, "kept "+state+"/key.pem\n") || !strings.Contains(text, "kept "+dir+"/kubeconfig\n") {
		t.Errorf("twice: %d %s", status, text)
	}
	if err := os.Remove(filepath.Join(dir, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	if status, _, text := command(context.Background(), args...); status != 0 || !strings.Contains(text, "wrote "+dir+"/kubeconfig\n") {
		t.Errorf("without the kubeconfig: %d %s", status, text)
	}
	if read(t, filepath.Join(state, "cert.pem")) != cert || read(t, filepath.Join(dir, "kubeconfig")) != kubeconfig {
		t.Error("another certificate or kubeconfig")
	}

	args[len(args)-1] = "example.org"
	if status, _, text := command(context.Background(), args...); status != 1 || !strings.Contains(text, "example.com, not example.org") {
		t.Errorf("another host name: %d %s", status, text)
	}
	if read(t, filepath.Join(dir, "kubeconfig")) != kubeconfig {
		t.Error("the kubeconfig was written for a certificate of another name")
	}
}

func TestInitWritesWhereTheServerReads(t *testing.T) {
	t.Parallel()
	root := newRootCommand(streams{})
	for _, flag := range []string{"state-dir", "generate-kubeconfig", "address", "port"} {
		var defaults []string
		for _, name := range []string{"init", "server"} {
			cmd, _, err := root.Find([]string{name})
			if err != nil {
				t.Fatal(err)
			}
			defaults = append(defaults, cmd.Flags().Lookup(flag).DefValue)
		}
		if defaults[0] != defaults[1] {
			t.Errorf("--%s: init has %q, server %q", flag, defaults[0], defaults[1])
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if status, out, _ := command(context.Background(), "version"); status != 0 || !json.Valid([]byte(out)) {
		t.Errorf("%d %s", status, out)
	}
}
