package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/capiam/capiam/pkg/tree"
	"github.com/capiam/capiam/pkg/workflow"
)

// exampleLogins is what a create of examples/local.yaml says.
var exampleLogins = []string{
	"Admin JWT admin system:masters",
	"Admin presigned admin system:masters",
	"Auditor JWT auditor",
	"Auditor presigned auditor",
	"Developer JWT developer capiam:edit",
	"Developer presigned developer capiam:edit",
	"stranger JWT refused",
	"stranger presigned refused",
	"viewer JWT viewer capiam:view",
	"viewer presigned viewer capiam:view",
}

// TestLife goes through the life of the cluster of examples/local.yaml, whose
// files lie in a directory too deep for a unix socket.
func TestLife(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 1, strings.Repeat("deep", 12), strings.Repeat("deeper", 10))
	c := m.cluster("local")
	text := example(t, "local.yaml")
	spec := m.write("spec.yaml", text)

	m.step("create", func(t *testing.T) {
		made := c.create(spec)
		wantLogins(t, made.Logins, exampleLogins...)
		if made.Resumed || made.UserKubeconfig != c.users() || made.AdminKubeconfig != c.admin() {
			t.Errorf("made %+v", made)
		}
		if strings.HasPrefix(c.layout.ControlSocket(), c.layout.Dir) {
			t.Errorf("%s is short enough, so this tests nothing", c.layout.ControlSocket())
		}
		c.wantPrivate(t)
	})
	m.step("create again", func(t *testing.T) {
		before := c.all()
		again := c.create(spec)
		if !again.Resumed {
			t.Error("the cluster was made anew")
		}
		wantLogins(t, again.Logins, exampleLogins...)
		wantSame(t, "create", before, c.all())
	})
	m.step("capiam as client", func(t *testing.T) { testCapiamClient(c) })
	m.step("JWTs", func(t *testing.T) {
		jwt := c.withClient("jwt", "client.authentication.k8s.io/v1", filepath.Join(m.bin, "capiam"),
			"token", "-i", c.record().ClusterID, "--jwt")
		c.wantUser(jwt, "Developer", "developer", "capiam:edit")
		c.wantUser(jwt, "viewer", "viewer", "capiam:view")
		c.wantUnauthorized(jwt, "stranger")
		c.wantForbidden(jwt, "Auditor")
	})
	m.step("aws-iam-authenticator as client", func(t *testing.T) {
		for _, version := range []string{"v1", "v1beta1"} {
			other := c.withClient("aia-"+version, "client.authentication.k8s.io/"+version, "aws-iam-authenticator",
				"token", "-i", c.record().ClusterID)
			c.wantUser(other, "Developer", "developer", "capiam:edit")
			c.wantUnauthorized(other, "stranger")
		}
	})
	testAWSClients(t, m, c)
	m.step("helm list", func(t *testing.T) {
		r := helmRelease(t, c)
		if r.Name != "aws-iam-authenticator" || r.Info.Status != release.StatusDeployed || r.Version != 1 {
			t.Errorf("release %s is %s in revision %d", r.Name, r.Info.Status, r.Version)
		}
	})
	m.step("look", func(t *testing.T) { testLook(t, c) })
	m.step("bootstrap", func(t *testing.T) { testBootstrap(t, c) })
	m.step("a name that is taken", func(t *testing.T) {
		before := c.all()
		m.refused([]string{"create", "cluster", "-f", spec, "--output-dir", "elsewhere"}, "the cluster name is taken", c.dir)
		wantSame(t, "a refused create", before, c.all())
	})
	m.step("upgrade without an edit", func(t *testing.T) {
		before := c.all()
		r := m.capiam("upgrade", "cluster", "-f", spec)
		if !strings.Contains(r.stderr, "nothing was written") {
			t.Error(r)
		}
		wantSame(t, "upgrade", before, c.all())
	})
	edited := testUpgrade(m, c, text)
	testUpgradesThatFail(m, c, edited)
	testSettings(m, c, edited)
	m.step("no secrets", func(t *testing.T) {
		c.wantNoSecrets(t, c.token("Admin"), c.token("newcomer"), c.token("Admin", "--jwt"), c.token("newcomer", "--jwt"))
	})
	m.step("delete", func(t *testing.T) {
		m.capiam("delete", "cluster", "local")
		c.gone()
		m.refused([]string{"delete", "cluster", "local"}, "no such local cluster")
		m.refused([]string{"upgrade", "cluster", "-f", spec}, "no such local cluster", "capiam create cluster")
	})
}

func testCapiamClient(c *cluster) {
	c.wantUser(c.users(), "Admin", "admin", "system:masters")
	c.wantUser(c.users(), "viewer", "viewer", "capiam:view")
	c.wantEditor(c.users(), "Developer")
	c.wantPods(c.users(), "viewer")
	c.wantForbidden(c.users(), "Auditor")
	c.wantUnauthorized(c.users(), "stranger")
	// A kubeconfig that is moved still works.
	moved := filepath.Join(c.m.home, "config")
	if err := os.Rename(c.users(), moved); err != nil {
		c.m.t.Fatal(err)
	}
	c.wantUser(moved, "Developer", "developer", "capiam:edit")
	if err := os.Rename(moved, c.users()); err != nil {
		c.m.t.Fatal(err)
	}
	r := c.kubectl(c.users(), "nobody", "auth", "whoami")
	if r.code == 0 || !strings.Contains(r.stderr, "nobody") {
		c.m.t.Errorf("want the missing profile named: %s", r)
	}
	// The administrator needs no AWS.
	r = c.kubectl(c.admin(), "", "get", "namespace", "kube-system")
	if r.code != 0 {
		c.m.t.Error(r)
	}
}

// testAWSClients logs in with every AWS command line there is.
func testAWSClients(t *testing.T, m *machine, c *cluster) {
	commands := awsCommands()
	if len(commands) == 0 {
		t.Run("aws as client", func(t *testing.T) {
			t.Skip("there is no aws in PATH; on Debian: apt-get install awscli")
		})
	}
	for n, aws := range commands {
		m.step("aws as client "+strings.ReplaceAll(m.awsVersion(t, aws), "/", " "), func(*testing.T) {
			region := c.record().Region
			other := c.withClient(fmt.Sprintf("aws-%d", n), "client.authentication.k8s.io/v1", aws,
				"eks", "get-token", "--cluster-name", c.record().ClusterID, "--region", region)
			c.wantUser(other, "Developer", "developer", "capiam:edit")
			c.wantUser(other, "viewer", "viewer", "capiam:view")
			c.wantUnauthorized(other, "stranger")
		})
	}
}

// helmRelease is what helm list would show in kube-system.
func helmRelease(t *testing.T, c *cluster) *release.Release {
	t.Helper()
	namespace, admin := "kube-system", c.admin()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &admin, &namespace
	var config action.Configuration
	if err := config.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	releases, err := action.NewList(&config).Run()
	if err != nil {
		t.Fatal(err)
	}
	if len(releases) != 1 {
		t.Fatalf("want one release, got %d", len(releases))
	}
	return releases[0]
}

func testLook(t *testing.T, c *cluster) {
	m := c.m
	var list struct{ Items []workflow.Summary }
	m.capiam("get", "clusters", "-o", "json").decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "local" || list.Items[0].Status != workflow.StatusReady {
		t.Errorf("clusters %+v", list.Items)
	}
	var root tree.Node
	m.capiam("describe", "cluster", "local", "-o", "json").decode(t, &root)
	var names []string
	for _, part := range root.Parts {
		names = append(names, part.Name)
		if part.Ready != nil && !*part.Ready {
			t.Errorf("%s is not ready: %s", part.Name, part.Detail)
		}
	}
	if got, want := strings.Join(names, " "), "ControlPlane Webhook Authenticator Certificates Mappings LastChange"; got != want {
		t.Errorf("described %s, want %s", got, want)
	}
	r := m.capiam("get", "mappings", "local")
	for _, want := range []string{"arn:aws:iam::444455556666:role/Auditor", "viewer", "capiam:edit"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("want %q: %s", want, r)
		}
	}
	kubeconfig, err := os.ReadFile(c.users())
	if err != nil {
		t.Fatal(err)
	}
	if r := m.capiam("get", "kubeconfig", "local"); r.stdout != string(kubeconfig) {
		t.Errorf("want the users' kubeconfig: %s", r)
	}
	if r := m.capiam("get", "kubeconfig", "local", "--admin", "--path"); r.stdout != c.admin()+"\n" {
		t.Errorf("want the path of the administrator's kubeconfig: %s", r)
	}
	for _, args := range [][]string{{"describe", "cluster", "absent"}, {"get", "mappings", "absent"}, {"get", "kubeconfig", "absent"}} {
		m.refused(args, `cluster "absent": no such local cluster`)
	}
}
