package local_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/capiam/capiam/pkg/stssim"
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
	c.wantPods(c.users(), "Developer")
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
	var tree workflow.Node
	m.capiam("describe", "cluster", "local", "-o", "json").decode(t, &tree)
	var names []string
	for _, part := range tree.Parts {
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

// foreign is an entry of somebody else, with a comment and a layout of its own.
const foreign = `# kept by the platform team
- "rolearn":   'arn:aws:iam::123456789012:role/Platform'
  username: platform
  groups: [ platform ]   # not ours
`

// testUpgrade adds, changes and removes mappings next to those of somebody
// else. It returns the cluster's new spec.
func testUpgrade(m *machine, c *cluster, text string) string {
	m.step("upgrade", func(t *testing.T) {
		live := c.awsAuth()
		live.Data["mapRoles"] += foreign
		live.Data["mapAccounts"] = "- \"123456789012\"\n"
		live.Labels = map[string]string{"team": "platform"}
		if _, err := c.clients().CoreV1().ConfigMaps("kube-system").Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		text = replace(t, text, "role/Developer\n      username: developer\n      groups:\n        - capiam:edit", "role/Developer\n      username: developer\n      groups:\n        - capiam:view")
		text = replace(t, text, "user/viewer\n      username: viewer", "user/newcomer\n      username: newcomer")
		spec := m.write("spec.yaml", text)

		before := c.all()
		r := m.capiam("upgrade", "cluster", "-f", spec, "--dry-run")
		for _, want := range []string{"newcomer", "user/viewer", "developer", "(another writer's, stays)", "nothing was changed"} {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("want %q: %s", want, r)
			}
		}
		wantSame(t, "a dry run", before, c.all())

		// create leaves mappings to upgrade, and says so.
		var made workflow.CreateResult
		r = m.capiam("create", "cluster", "-f", spec, "-o", "json")
		r.decode(t, &made)
		if len(made.Pending) != 3 || !strings.Contains(r.stderr, "capiam upgrade cluster") {
			t.Errorf("pending %q: %s", made.Pending, r)
		}
		c.wantUser(c.users(), "Developer", "developer", "capiam:edit")
		c.wantUser(c.users(), "viewer", "viewer", "capiam:view")

		changed := c.upgrade(spec)
		if !changed.Changed || len(changed.Changes) != 3 {
			t.Errorf("changed %+v", changed)
		}
		wantLogins(t, changed.Logins,
			"Developer JWT developer capiam:view", "Developer presigned developer capiam:view",
			"newcomer JWT newcomer capiam:view", "newcomer presigned newcomer capiam:view",
			"removed-viewer JWT refused", "removed-viewer presigned refused")
		c.wantUser(c.users(), "newcomer", "newcomer", "capiam:view")
		c.wantUser(c.users(), "Developer", "developer", "capiam:view")
		live = c.awsAuth()
		if !strings.Contains(live.Data["mapRoles"], foreign) || live.Data["mapAccounts"] != "- \"123456789012\"\n" || live.Labels["team"] != "platform" {
			t.Errorf("entries of another writer were touched: %v %q", live.Labels, live.Data)
		}
		if strings.Contains(live.Data["mapUsers"], "viewer\n") {
			t.Errorf("the removed user is still there: %s", live.Data["mapUsers"])
		}
		if change := c.record().LastChange; change == nil || len(change.Lines) != 3 {
			t.Errorf("the change was not noted: %+v", change)
		}
		if r := m.capiam("get", "mappings", "local"); !strings.Contains(r.stdout, "other") {
			t.Errorf("want the other writer's entries marked: %s", r)
		}

		before = c.all()
		if again := c.upgrade(spec); again.Changed {
			t.Errorf("changed again: %+v", again)
		}
		wantSame(t, "a second upgrade", before, c.all())
	})
	return text
}

// testSettings changes what the authenticator is configured with, and nobody's
// mapping.
func testSettings(m *machine, c *cluster, text string) {
	m.step("upgrade of the authenticator's settings", func(t *testing.T) {
		jwt := func(audience string) string {
			return c.withClient("jwt-"+audience, "client.authentication.k8s.io/v1", filepath.Join(m.bin, "capiam"),
				"token", "-i", c.record().ClusterID, "--jwt", "--audience", audience)
		}
		c.wantUnauthorized(jwt("settings"), "Admin")
		before, err := c.component("authenticator")
		if err != nil {
			t.Fatal(err)
		}
		spec := m.write("settings.yaml", replace(t, text, "  awsRegion: us-west-2\n", "  awsRegion: us-west-2\n  audiences: [settings]\n"))
		// A look at it must not keep the change from being noticed later.
		m.capiam("upgrade", "cluster", "-f", spec, "--dry-run")
		if changed := c.upgrade(spec); !changed.Changed || len(changed.Changes) != 0 {
			t.Errorf("changed %+v", changed)
		}
		after, err := c.component("authenticator")
		if err != nil || after.PID == before.PID {
			t.Errorf("the authenticator was not restarted: %v", err)
		}
		// Its API server may take a moment to find it again.
		eventually(t, "log in for the new audience", func() error {
			if r := c.kubectl(jwt("settings"), "Admin", "auth", "whoami"); r.code != 0 {
				return errors.New(r.stderr)
			}
			return nil
		})
		c.wantUnauthorized(jwt(c.record().ClusterID), "Admin")
		wantLogins(t, c.create(spec).Logins,
			"Admin JWT admin system:masters", "Admin presigned admin system:masters",
			"Auditor JWT auditor", "Auditor presigned auditor",
			"Developer JWT developer capiam:view", "Developer presigned developer capiam:view",
			"newcomer JWT newcomer capiam:view", "newcomer presigned newcomer capiam:view",
			"stranger JWT refused", "stranger presigned refused")
		if again := c.upgrade(spec); again.Changed {
			t.Errorf("changed again: %+v", again)
		}
		c.upgrade(m.write("spec.yaml", text))
	})
}

// testUpgradesThatFail tries upgrades that are refused, fail or are stopped, and
// must leave who may log in as it was.
func testUpgradesThatFail(m *machine, c *cluster, text string) {
	unchanged := func(t *testing.T, what string, upgrade func()) {
		t.Helper()
		files := c.files()
		before := c.awsAuth()
		upgrade()
		after := c.awsAuth()
		// What the simulated STS has learnt stays: it is nobody's right.
		now := c.files()
		files[c.layout.STS()] = now[c.layout.STS()]
		wantSame(t, what, files, now)
		if !maps.Equal(before.Data, after.Data) || !maps.Equal(before.Annotations, after.Annotations) {
			t.Errorf("%s: aws-auth was\n%q %q\nand is\n%q %q", what, before.Data, before.Annotations, after.Data, after.Annotations)
		}
	}
	m.step("upgrade that locks everybody out", func(t *testing.T) {
		spec := m.write("lockout.yaml", replace(t, text, "system:masters\n    -", "capiam:edit\n    -"))
		before := c.all()
		m.refused([]string{"upgrade", "cluster", "-f", spec}, "system:masters", "--allow-lockout", "nothing was changed")
		wantSame(t, "a refused upgrade", before, c.all())
	})
	m.step("upgrade to what cannot change", func(t *testing.T) {
		spec := m.write("region.yaml", replace(t, text, "us-west-2", "eu-west-1"))
		before := c.all()
		m.refused([]string{"upgrade", "cluster", "-f", spec}, "awsRegion", "cannot change")
		m.refused([]string{"create", "cluster", "-f", spec}, "awsRegion", "cannot change")
		wantSame(t, "a refused upgrade", before, c.all())
	})
	another := replace(m.t, text, "user/newcomer\n      username: newcomer", "user/another\n      username: another")
	m.step("upgrade whose logins fail", func(t *testing.T) {
		c.faults(stssim.Fault{Kind: stssim.FaultStatus, Status: 500})
		defer c.faults()
		unchanged(t, "a failed upgrade", func() {
			r := m.run(nil, "capiam", "upgrade", "cluster", "-f", m.write("another.yaml", another))
			if r.code != 1 || !strings.Contains(r.stderr, "✗ Log in as who was changed") || !strings.Contains(r.stderr, "the cluster is as it was before") {
				t.Errorf("want the logins to fail: %s", r)
			}
		})
	})
	m.step("log in after a failed upgrade", func(*testing.T) {
		c.wantUser(c.users(), "newcomer", "newcomer", "capiam:view")
	})
	m.step("upgrade that takes too long", func(t *testing.T) {
		c.faults(stssim.Fault{Kind: stssim.FaultDelay, Delay: time.Minute})
		defer c.faults()
		unchanged(t, "an upgrade that took too long", func() {
			r := m.run(nil, "capiam", "upgrade", "cluster", "-f", m.write("another.yaml", another), "--timeout", "5s")
			if r.code != 124 || !strings.Contains(r.stderr, "✗ Log in as who was changed") || !strings.Contains(r.stderr, "the cluster is as it was before") {
				t.Errorf("want a timeout during the logins: %s", r)
			}
		})
	})
	m.step("upgrade that is interrupted", func(t *testing.T) {
		c.faults(stssim.Fault{Kind: stssim.FaultDelay, Delay: time.Minute})
		defer c.faults()
		unchanged(t, "an interrupted upgrade", func() {
			upgrade := m.start(nil, "capiam", "upgrade", "cluster", "-f", m.write("another.yaml", another))
			if !upgrade.waitLine("► Log in as who was changed") {
				t.Fatal(upgrade.wait())
			}
			if live := c.awsAuth(); !strings.Contains(live.Data["mapUsers"], "another") {
				t.Errorf("the change has not been made: %q", live.Data)
			}
			upgrade.signal(os.Interrupt)
			r := upgrade.wait()
			if r.code != 1 || !strings.Contains(r.stderr, "interrupted") || !strings.Contains(r.stderr, "the cluster is as it was before") {
				t.Errorf("want an interrupt: %s", r)
			}
		})
	})
	m.step("upgrade that is killed", func(t *testing.T) {
		c.faults(stssim.Fault{Kind: stssim.FaultDelay, Delay: time.Minute})
		spec := m.write("another.yaml", another)
		upgrade := m.start(nil, "capiam", "upgrade", "cluster", "-f", spec)
		if !upgrade.waitLine("► Log in as who was changed") {
			t.Fatal(upgrade.wait())
		}
		upgrade.signal(syscall.SIGKILL)
		upgrade.wait()
		c.faults()
		c.upgrade(spec)
		c.wantUser(c.users(), "another", "another", "capiam:view")
		// And back, so that the failed ones above left nothing in the way.
		changed := c.upgrade(m.write("spec.yaml", text))
		wantLogins(t, changed.Logins,
			"newcomer JWT newcomer capiam:view", "newcomer presigned newcomer capiam:view",
			"removed-another JWT refused", "removed-another presigned refused")
	})
}
