package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubectl runs kubectl as an AWS profile.
func (c *cluster) kubectl(kubeconfig, profile string, args ...string) result {
	c.m.t.Helper()
	return c.m.run([]string{"KUBECONFIG=" + kubeconfig, "AWS_PROFILE=" + profile}, "kubectl", args...)
}

// wantUser checks whom the API server takes a profile for.
func (c *cluster) wantUser(kubeconfig, profile, username string, groups ...string) {
	c.m.t.Helper()
	r := c.kubectl(kubeconfig, profile, "auth", "whoami", "-o", "json")
	if r.code != 0 {
		c.m.t.Errorf("profile %s: %s", profile, r)
		return
	}
	var review authenticationv1.SelfSubjectReview
	r.decode(c.m.t, &review)
	user := review.Status.UserInfo
	if user.Username != username {
		c.m.t.Errorf("profile %s is %q, want %q", profile, user.Username, username)
	}
	want := append(groups, "system:authenticated")
	slices.Sort(user.Groups)
	slices.Sort(want)
	if !slices.Equal(user.Groups, want) {
		c.m.t.Errorf("profile %s has groups %q, want %q", profile, user.Groups, want)
	}
}

// wantUnauthorized checks that a profile is not let in.
func (c *cluster) wantUnauthorized(kubeconfig, profile string) {
	c.m.t.Helper()
	r := c.kubectl(kubeconfig, profile, "auth", "whoami")
	if r.code == 0 || !strings.Contains(r.stderr, "Unauthorized") {
		c.m.t.Errorf("profile %s: want 401: %s", profile, r)
	}
}

// wantForbidden checks that a profile is let in and allowed nothing.
func (c *cluster) wantForbidden(kubeconfig, profile string) {
	c.m.t.Helper()
	r := c.kubectl(kubeconfig, profile, "get", "pods", "-A")
	if r.code == 0 || !strings.Contains(r.stderr, "Forbidden") {
		c.m.t.Errorf("profile %s: want 403: %s", profile, r)
	}
}

// wantPods checks that a profile may list the pods of all namespaces.
func (c *cluster) wantPods(kubeconfig, profile string) {
	c.m.t.Helper()
	c.wantPodsIn(kubeconfig, profile, "-A")
}

// wantEditor checks that a profile may work in the namespace default, and not
// where it could make itself an administrator.
func (c *cluster) wantEditor(kubeconfig, profile string) {
	c.m.t.Helper()
	c.wantPodsIn(kubeconfig, profile, "--namespace=default")
	c.wantForbidden(kubeconfig, profile)
	for _, args := range [][]string{{"get", "configmap", "aws-auth"}, {"get", "secrets"}, {"create", "token", "default"}} {
		r := c.kubectl(kubeconfig, profile, append([]string{"--namespace=kube-system"}, args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, "forbidden") {
			c.m.t.Errorf("profile %s: want 403: %s", profile, r)
		}
	}
}

func (c *cluster) wantPodsIn(kubeconfig, profile, where string) {
	c.m.t.Helper()
	r := c.kubectl(kubeconfig, profile, "get", "pods", where)
	if r.code != 0 || !strings.Contains(r.stderr+r.stdout, "No resources found") {
		c.m.t.Errorf("profile %s: want an empty list of pods: %s", profile, r)
	}
}

// withClient writes a kubeconfig as a user would by hand, who calls another
// client than the one capiam wrote down.
func (c *cluster) withClient(name, apiVersion, command string, args ...string) string {
	c.m.t.Helper()
	config, err := clientcmd.LoadFromFile(c.users())
	if err != nil {
		c.m.t.Fatal(err)
	}
	exec := config.AuthInfos[c.name+"-aws"].Exec
	exec.APIVersion, exec.Command, exec.Args = apiVersion, command, args
	exec.InteractiveMode = clientcmdapi.NeverExecInteractiveMode
	path := filepath.Join(c.m.work, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		c.m.t.Fatal(err)
	}
	return path
}

// awsCommands are the AWS command lines in PATH. A machine may have both
// versions; the same file is not tried twice.
func awsCommands() []string {
	var found, seen []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "aws")
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 || !filepath.IsAbs(path) {
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		found = append(found, path)
	}
	return found
}

// awsVersion is what an AWS command line calls itself, "aws-cli/2.9.19".
func (m *machine) awsVersion(t *testing.T, aws string) string {
	t.Helper()
	r := m.run(nil, aws, "--version")
	if r.code != 0 {
		t.Fatal(r)
	}
	version, _, _ := strings.Cut(r.stdout+r.stderr, " ")
	return version
}

// profiles is how other AWS tools find a cluster's identities and its STS.
func (c *cluster) profiles(profile string) []string {
	return []string{
		"AWS_PROFILE=" + profile,
		"AWS_CONFIG_FILE=" + c.file("aws-config"),
		"AWS_SHARED_CREDENTIALS_FILE=" + c.file("aws-credentials"),
		"AWS_CA_BUNDLE=" + c.layout.STSCA(),
		"AWS_EC2_METADATA_DISABLED=true",
		fmt.Sprintf("HTTPS_PROXY=%s", c.record().STSProxyURL()),
	}
}
