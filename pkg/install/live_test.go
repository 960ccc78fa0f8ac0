package install

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"helm.sh/helm/v3/pkg/release"

	"github.com/capiam/capiam/manifests"
	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
)

// liveEnv names a kubeconfig of a cluster that these tests may change as they
// like. Nothing else leads them to a cluster, least of all KUBECONFIG.
const liveEnv = "CAPIAM_TEST_KUBECONFIG"

func liveInstaller(t *testing.T) *Installer {
	t.Helper()
	path := os.Getenv(liveEnv)
	if path == "" {
		t.Skip(liveEnv + " names no cluster to test with")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	i.poll = 20 * time.Millisecond
	return i
}

func liveOutput(t *testing.T, backends ...string) *render.Output {
	t.Helper()
	cluster := &v1alpha1.Cluster{}
	cfg := &v1alpha1.AWSIamConfig{Spec: v1alpha1.AWSIamConfigSpec{
		AWSRegion: "us-west-2", Partition: "aws", BackendMode: backends, ClusterID: "live",
		Tokens:   []string{v1alpha1.TokenPresigned},
		MapRoles: []v1alpha1.MapRole{{RoleARN: "arn:aws:iam::111122223333:role/dev", Username: "dev", Groups: []string{"system:masters"}}},
		Server:   v1alpha1.ServerSpec{Implementation: v1alpha1.ImplementationCapiam, Image: "registry.example.com/a:v1"},
		Client:   v1alpha1.ClientSpec{Command: v1alpha1.ClientCapiam},
	}}
	out, err := render.Render(render.Input{
		Spec:    &spec.Spec{Name: "live", Cluster: cluster, IAM: cfg},
		Webhook: render.Webhook{CAPEM: []byte("ca"), Leaf: pki.KeyPair{CertPEM: []byte("cert"), KeyPEM: []byte("key")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLive goes through the life of a release on a real API server, in one
// test, as there is one cluster.
func TestLive(t *testing.T) {
	i := liveInstaller(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cleanup := func() {
		ctx := context.WithoutCancel(ctx)
		if _, err := i.Uninstall(ctx); err != nil {
			t.Error(err)
		}
		err := i.kube.CoreV1().ConfigMaps("kube-system").Delete(ctx, "aws-auth", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	cleanup()
	t.Cleanup(cleanup)

	out := liveOutput(t, v1alpha1.BackendEKSConfigMap, v1alpha1.BackendCRD)
	if err := i.EnsureCRDs(ctx, out.CRDs); err != nil {
		t.Fatal(err)
	}
	crdOut := liveOutput(t, v1alpha1.BackendCRD)
	for _, err := range i.DryRun(ctx, append(out.Objects, crdOut.Objects...)) {
		t.Error(err)
	}
	t.Run("release", func(t *testing.T) { testRelease(t, ctx, i, out) })
	t.Run("unfinished release", func(t *testing.T) { testUnfinished(t, ctx, i, out) })
	t.Run("aws-auth", func(t *testing.T) { testAWSAuth(t, ctx, i) })
	t.Run("identity mappings", func(t *testing.T) { testIdentityMappings(t, ctx, i) })
}

func ensure(t *testing.T, ctx context.Context, i *Installer, values map[string]any) ReleaseResult {
	t.Helper()
	chart, err := manifests.Chart()
	if err != nil {
		t.Fatal(err)
	}
	r, err := i.EnsureRelease(ctx, ReleaseOptions{Chart: chart, Values: values})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantAction(t *testing.T, got ReleaseResult, action Action, revision int) {
	t.Helper()
	if got.Action != action || got.Revision != revision {
		t.Fatalf("%s, revision %d; want %s, %d (drifted: %v)", got.Action, got.Revision, action, revision, got.Drifted)
	}
}

func testRelease(t *testing.T, ctx context.Context, i *Installer, out *render.Output) {
	start := time.Now()
	wantAction(t, ensure(t, ctx, i, out.Values), Installed, 1)
	t.Logf("installed in %s", time.Since(start))
	if err := i.WaitReady(ctx, 0, nil); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	wantAction(t, ensure(t, ctx, i, out.Values), Unchanged, 1)
	t.Logf("unchanged in %s", time.Since(start))

	// Somebody deletes one object and edits another.
	ds := i.kube.AppsV1().DaemonSets("kube-system")
	if err := ds.Delete(ctx, "aws-iam-authenticator", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	role, err := i.kube.RbacV1().ClusterRoles().Get(ctx, "aws-iam-authenticator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules := role.Rules
	role.Rules = append(role.Rules, rules[0])
	role.Rules[len(role.Rules)-1].ResourceNames = nil
	if _, err := i.kube.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	repaired := ensure(t, ctx, i, out.Values)
	wantAction(t, repaired, Repaired, 2)
	if len(repaired.Drifted) != 2 {
		t.Errorf("drifted: %v", repaired.Drifted)
	}
	wantAction(t, ensure(t, ctx, i, out.Values), Unchanged, 2)

	changed := liveOutput(t, v1alpha1.BackendEKSConfigMap)
	wantAction(t, ensure(t, ctx, i, changed.Values), Upgraded, 3)
	role, err = i.kube.RbacV1().ClusterRoles().Get(ctx, "aws-iam-authenticator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(role.Rules) >= len(rules) {
		t.Errorf("%d rules with one backend, %d with two", len(role.Rules), len(rules))
	}
	// An upgrade that the API server refuses half way is rolled back.
	bad := liveOutput(t, v1alpha1.BackendEKSConfigMap, v1alpha1.BackendMountedFile).Values
	bad["priorityClassName"] = "not a name!"
	bad["extraEnv"] = []any{map[string]any{"name": "not=a name"}}
	chart, err := manifests.Chart()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.EnsureRelease(ctx, ReleaseOptions{Chart: chart, Values: bad}); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a bad upgrade: %v", err)
	}
	r := ensure(t, ctx, i, changed.Values)
	if r.Action != Unchanged {
		t.Errorf("after rolling back: %+v", r)
	}
	if removed, err := i.Uninstall(ctx); err != nil || !removed {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if removed, err := i.Uninstall(ctx); err != nil || removed {
		t.Errorf("removed again %v, %v", removed, err)
	}
	// A first installation that fails leaves nothing.
	if _, err := i.EnsureRelease(ctx, ReleaseOptions{Chart: chart, Values: bad}); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("a bad installation: %v", err)
	}
	if _, err := i.kube.CoreV1().ServiceAccounts("kube-system").Get(ctx, "aws-iam-authenticator", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("service account after a failed installation: %v", err)
	}
}

// testUnfinished leaves the release as a killed process would.
func testUnfinished(t *testing.T, ctx context.Context, i *Installer, out *render.Output) {
	mark := func(status release.Status, deployed time.Time) {
		t.Helper()
		cfg, err := i.helm()
		if err != nil {
			t.Fatal(err)
		}
		last, err := cfg.Releases.Last(render.ReleaseName)
		if err != nil {
			t.Fatal(err)
		}
		last.Info.Status = status
		last.Info.LastDeployed.Time = deployed
		if err := cfg.Releases.Update(last); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	wantAction(t, ensure(t, ctx, i, out.Values), Installed, 1)
	mark(release.StatusPendingInstall, long)
	if err := i.kube.AppsV1().DaemonSets("kube-system").Delete(ctx, "aws-iam-authenticator", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantAction(t, ensure(t, ctx, i, out.Values), Installed, 1)
	mark(release.StatusFailed, long)
	wantAction(t, ensure(t, ctx, i, out.Values), Installed, 1)
	changed := liveOutput(t, v1alpha1.BackendEKSConfigMap)
	wantAction(t, ensure(t, ctx, i, changed.Values), Upgraded, 2)
	mark(release.StatusPendingUpgrade, long)
	func() {
		cfg, err := i.helm()
		if err != nil {
			t.Fatal(err)
		}
		first, err := cfg.Releases.Get(render.ReleaseName, 1)
		if err != nil {
			t.Fatal(err)
		}
		first.Info.Status = release.StatusDeployed
		if err := cfg.Releases.Update(first); err != nil {
			t.Fatal(err)
		}
	}()
	wantAction(t, ensure(t, ctx, i, changed.Values), Upgraded, 3)
	wantAction(t, ensure(t, ctx, i, changed.Values), Unchanged, 3)

	// Somebody else is at it: wait, as long as it may be alive.
	mark(release.StatusPendingUpgrade, time.Now())
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	chart, err := manifests.Chart()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.EnsureRelease(short, ReleaseOptions{Chart: chart, Values: changed.Values}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a release that somebody is writing: %v", err)
	}
	mark(release.StatusUninstalling, long)
	wantAction(t, ensure(t, ctx, i, out.Values), Installed, 1)
}

func role(name, username string) mapping.Entry {
	return mapping.Entry{ARN: "arn:aws:iam::111122223333:role/" + name, Username: username}
}

func testAWSAuth(t *testing.T, ctx context.Context, i *Installer) {
	maps := i.kube.CoreV1().ConfigMaps("kube-system")
	foreign := "# hands off\n- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n"
	_, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", Annotations: map[string]string{"mine": "yes"}},
		Data:       map[string]string{"mapRoles": foreign, "else": "kept"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	desired := mapping.Mappings{Roles: []mapping.Entry{role("a", "a"), role("b", "b")}}
	plan, wrote, err := i.ApplyAWSAuth(ctx, desired, nil)
	if err != nil || !wrote || len(plan.Added) != 2 || len(plan.Foreign) != 1 {
		t.Fatalf("plan %+v, wrote %v, %v", plan, wrote, err)
	}
	read := func() *corev1.ConfigMap {
		t.Helper()
		cm, err := maps.Get(ctx, "aws-auth", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return cm
	}
	cm := read()
	if !strings.HasPrefix(cm.Data["mapRoles"], foreign) || cm.Data["else"] != "kept" || cm.Annotations["mine"] != "yes" {
		t.Errorf("what others wrote has changed: %+v", cm)
	}
	if _, wrote, err := i.ApplyAWSAuth(ctx, desired, func(*mapping.Plan) error { return errors.New("asked") }); err != nil || wrote {
		t.Errorf("wrote again: %v, %v", wrote, err)
	}
	if again := read(); again.ResourceVersion != cm.ResourceVersion {
		t.Error("the ConfigMap was written without need")
	}
	// Whoever is asked and says no stops it.
	refuse := errors.New("no")
	fewer := mapping.Mappings{Roles: desired.Roles[:1]}
	if _, _, err := i.ApplyAWSAuth(ctx, fewer, func(*mapping.Plan) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("a refused plan: %v", err)
	}
	// Somebody else writes between reading and writing, once.
	interfere := 1
	plan, wrote, err = i.ApplyAWSAuth(ctx, fewer, func(*mapping.Plan) error {
		if interfere--; interfere >= 0 {
			cm := read()
			cm.Data["else"] = "written meanwhile"
			_, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
			return err
		}
		return nil
	})
	if err != nil || !wrote || len(plan.Removed) != 1 {
		t.Fatalf("plan %+v, wrote %v, %v", plan, wrote, err)
	}
	cm = read()
	if strings.Contains(cm.Data["mapRoles"], "role/b") || !strings.Contains(cm.Data["mapRoles"], "role/nodes") || cm.Data["else"] != "written meanwhile" {
		t.Errorf("data %v", cm.Data)
	}
	// Somebody else always writes in between.
	_, _, err = i.ApplyAWSAuth(ctx, desired, func(*mapping.Plan) error {
		cm := read()
		cm.Annotations["n"] = time.Now().String()
		_, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("endless conflict: %v", err)
	}
	found := false
	for _, m := range read().ManagedFields {
		found = found || m.Manager == FieldManager
	}
	if !found {
		t.Error("nothing is managed by " + FieldManager)
	}
	if read().Annotations[applied.Annotation] == "" {
		t.Error("no note of what was applied")
	}
}

func testIdentityMappings(t *testing.T, ctx context.Context, i *Installer) {
	objects := func(entries ...mapping.Entry) []mapping.Entry { return entries }
	apply := func(entries []mapping.Entry) *IdentityPlan {
		t.Helper()
		desired, err := render.IdentityMappings(mapping.Mappings{Roles: entries})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := i.EnsureIdentityMappings(ctx, desired, nil)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	t.Cleanup(func() { apply(nil) })
	if p := apply(objects(role("a", "a"), role("b", "b"))); len(p.Create) != 2 {
		t.Fatalf("plan %v", p.Lines())
	}
	if p := apply(objects(role("a", "a"), role("b", "b"))); !p.Empty() {
		t.Errorf("plan %v", p.Lines())
	}
	p := apply(objects(role("a", "changed"), role("c", "c")))
	if len(p.Create) != 1 || len(p.Update) != 1 || len(p.Delete) != 1 || len(p.After().Roles) != 2 {
		t.Errorf("plan %v", p.Lines())
	}
	// The schema refuses an ARN that is none.
	bad, err := render.IdentityMappings(mapping.Mappings{Roles: objects(role("x", "x"))})
	if err != nil {
		t.Fatal(err)
	}
	bad[0].Object["spec"].(map[string]any)["arn"] = "arn:aws:sts::111122223333:assumed-role/x/y"
	if errs := i.DryRun(ctx, bad); len(errs) != 1 {
		t.Errorf("an assumed role's ARN: %v", errs)
	}
}
