package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func userOptions(client string) UserOptions {
	return UserOptions{
		Cluster: "edge", Server: "https://192.0.2.1:6443", CAPEM: []byte("ca"),
		Client: client, ClusterID: "id", Region: "eu-west-1", InstallHint: "install it",
	}
}

func user(t *testing.T, o UserOptions) *clientcmdapi.Config {
	t.Helper()
	cfg, err := User(o)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestShapes checks the names that EKS Anywhere's users and control planes
// have in their own files.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                   string
		cfg                    *clientcmdapi.Config
		cluster, user, context string
	}{
		{"webhook", Webhook("https://localhost:21362/authenticate", []byte("ca")), "aws-iam-authenticator", "apiserver", "webhook"},
		{"user", user(t, userOptions(ClientAWSIAMAuthenticator)), "edge", "edge-aws", "edge-aws"},
		{"admin", Admin(AdminOptions{Cluster: "edge", Server: "https://192.0.2.1:6443", CAPEM: []byte("ca"), CertPEM: []byte("c"), KeyPEM: []byte("k")}), "edge", "edge-admin", "edge-admin@edge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, err := Encode(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := clientcmd.Load(data)
			if err != nil {
				t.Fatal(err)
			}
			c := got.Contexts[tt.context]
			if got.CurrentContext != tt.context || c == nil || c.Cluster != tt.cluster || c.AuthInfo != tt.user {
				t.Errorf("current context %q: %+v", got.CurrentContext, c)
			}
			cluster := got.Clusters[tt.cluster]
			if cluster == nil || string(cluster.CertificateAuthorityData) != "ca" || !strings.HasPrefix(cluster.Server, "https://") {
				t.Errorf("cluster %+v", cluster)
			}
			if got.AuthInfos[tt.user] == nil {
				t.Errorf("no user %s", tt.user)
			}
			again, err := Encode(tt.cfg)
			if err != nil || string(again) != string(data) {
				t.Errorf("encoded differently the second time, %v", err)
			}
		})
	}
}

func TestWebhookHasNoCredential(t *testing.T) {
	t.Parallel()
	u := Webhook("https://localhost:21362/authenticate", []byte("ca")).AuthInfos["apiserver"]
	if d := cmp.Diff(clientcmdapi.NewAuthInfo(), u); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	env := func(more ...clientcmdapi.ExecEnvVar) []clientcmdapi.ExecEnvVar {
		return append([]clientcmdapi.ExecEnvVar{
			{Name: "AWS_REGION", Value: "eu-west-1"},
			{Name: "AWS_STS_REGIONAL_ENDPOINTS", Value: "regional"},
		}, more...)
	}
	absolute := "/opt/capiam"
	if runtime.GOOS == "windows" {
		absolute = `C:\capiam.exe`
	}
	for _, tt := range []struct {
		name    string
		edit    func(*UserOptions)
		command string
		args    []string
		env     []clientcmdapi.ExecEnvVar
	}{
		{"aws-iam-authenticator", func(*UserOptions) {}, "aws-iam-authenticator", []string{"token", "-i", "id"}, env()},
		{"capiam", func(o *UserOptions) { o.Client = ClientCapiam }, "capiam", []string{"token", "-i", "id"}, env()},
		{"capiam with JWTs", func(o *UserOptions) { o.Client, o.JWT = ClientCapiam, true }, "capiam", []string{"token", "-i", "id", "--jwt"}, env()},
		{
			"aws", func(o *UserOptions) { o.Client = ClientAWS }, "aws",
			[]string{"eks", "get-token", "--cluster-name", "id", "--region", "eu-west-1", "--output", "json"},
			env(),
		},
		{"a path", func(o *UserOptions) { o.Client, o.Command = ClientCapiam, absolute }, absolute, []string{"token", "-i", "id"}, env()},
		{
			"more environment", func(o *UserOptions) {
				o.Env = []EnvVar{{"HTTPS_PROXY", "http://127.0.0.1:3128"}, {"AWS_REGION", "eu-west-2"}}
			}, "aws-iam-authenticator", []string{"token", "-i", "id"},
			[]clientcmdapi.ExecEnvVar{
				{Name: "AWS_REGION", Value: "eu-west-2"}, {Name: "AWS_STS_REGIONAL_ENDPOINTS", Value: "regional"},
				{Name: "HTTPS_PROXY", Value: "http://127.0.0.1:3128"},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := userOptions(ClientAWSIAMAuthenticator)
			tt.edit(&o)
			want := &clientcmdapi.ExecConfig{
				APIVersion: "client.authentication.k8s.io/v1", Command: tt.command, Args: tt.args, Env: tt.env,
				InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode, InstallHint: "install it",
			}
			cfg := user(t, o)
			if d := cmp.Diff(want, cfg.AuthInfos["edge-aws"].Exec); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if err := clientcmd.Validate(*cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUserRefuses(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*UserOptions){
		"unknown client":            func(o *UserOptions) { o.Client = "curl" },
		"no cluster ID":             func(o *UserOptions) { o.ClusterID = "" },
		"relative command":          func(o *UserOptions) { o.Command = "bin/capiam" },
		"JWTs from an older client": func(o *UserOptions) { o.JWT = true },
	} {
		o := userOptions(ClientAWSIAMAuthenticator)
		edit(&o)
		if _, err := User(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edge", UserFile("edge"))
	cfg := user(t, userOptions(ClientAWSIAMAuthenticator))
	for i, want := range []bool{true, false} {
		changed, err := WriteFile(path, cfg)
		if err != nil || runtime.GOOS != "windows" && changed != want {
			t.Errorf("writing it for the %d. time: changed %v, %v", i+1, changed, err)
		}
	}
	cfg.Clusters["edge"].Server = "https://192.0.2.2:6443"
	if changed, err := WriteFile(path, cfg); err != nil || !changed {
		t.Errorf("a moved cluster: changed %v, %v", changed, err)
	}
	got, err := clientcmd.LoadFromFile(path)
	if err != nil || got.Clusters["edge"].Server != "https://192.0.2.2:6443" {
		t.Errorf("read back %v, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestWriteFileFails leaves the file that is there.
func TestWriteFileFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFile(filepath.Join(file, "below"), user(t, userOptions(ClientAWS))); err == nil {
		t.Error("wrote below a file")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "old" {
		t.Errorf("%q, %v", data, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
