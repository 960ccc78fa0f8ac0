package local_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/workflow"
)

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
		// A token made in the same second as one that the killed upgrade still
		// waits for is the same, and so is its answer.
		eventually(t, "log in as who was added", func() error {
			if r := c.kubectl(c.users(), "another", "auth", "whoami"); r.code != 0 {
				return errors.New(r.stderr)
			}
			return nil
		})
		c.wantUser(c.users(), "another", "another", "capiam:view")
		// And back, so that the failed ones above left nothing in the way.
		changed := c.upgrade(m.write("spec.yaml", text))
		wantLogins(t, changed.Logins,
			"newcomer JWT newcomer capiam:view", "newcomer presigned newcomer capiam:view",
			"removed-another JWT refused", "removed-another presigned refused")
	})
}
