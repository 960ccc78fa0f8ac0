package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/internal/kubefake"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

const (
	awsAuthPath = "/api/v1/namespaces/kube-system/configmaps/aws-auth"
	crdPath     = "/apis/iamauthenticator.k8s.aws/v1alpha1/iamidentitymappings"
	eventsPath  = "/api/v1/namespaces/kube-system/events"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a store with backends that read from a small API server.
type bench struct {
	t     testing.TB
	kube  *kubefake.Server
	store *Store
	// metrics are those of the last start.
	metrics *metrics.Metrics
	clock   *clock
	dir     string
	// clusterID is whose snapshot is kept.
	clusterID string
	stop      func()
}

func newBench(t testing.TB) *bench {
	return &bench{t: t, kube: kubefake.New(t), clock: &clock{now: time.Now()}, dir: t.TempDir(), stop: func() {}}
}

// start runs the backends; it may be called again after stop, as a restart.
func (b *bench) start(names ...string) {
	log, m := slog.New(slog.DiscardHandler), metrics.New()
	b.metrics = m
	b.store = NewStore(names, StoreOptions{Partition: "aws", Log: log, Metrics: m, Now: b.clock.Now})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	client := b.kube.Client(b.t)
	events := NewEvents(client, "test", log, b.clock.Now)
	wg.Go(func() { events.Run(ctx) })
	for _, n := range names {
		switch n {
		case mapping.BackendEKSConfigMap:
			configMaps, err := NewConfigMapClient(b.kube.Config(), http.DefaultClient)
			if err != nil {
				b.t.Fatal(err)
			}
			wg.Go(func() {
				NewConfigMap(ConfigMapOptions{Client: configMaps, Store: b.store, Grace: time.Hour, SnapshotDir: b.dir, ClusterID: b.clusterID, Log: log, Metrics: m, Events: events, Now: b.clock.Now}).Run(ctx)
			})
		case mapping.BackendCRD:
			wg.Go(func() {
				NewCRD(CRDOptions{Client: client, Store: b.store, Partition: "aws", Log: log, Events: events, Now: b.clock.Now}).Run(ctx)
			})
		}
	}
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	b.t.Cleanup(b.stop)
}

func (b *bench) awsAuth(data map[string]string) {
	values := map[string]any{}
	for k, v := range data {
		values[k] = v
	}
	b.kube.Put(awsAuthPath, kubefake.Object{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "aws-auth", "namespace": "kube-system"}, "data": values})
}

func (b *bench) identityMapping(name, created string, spec map[string]any) {
	b.kube.Put(crdPath+"/"+name, kubefake.Object{"apiVersion": "iamauthenticator.k8s.aws/v1alpha1", "kind": "IAMIdentityMapping",
		"metadata": map[string]any{"name": name, "creationTimestamp": created}, "spec": spec})
}

// username returns whom an ARN is mapped to, or the error.
func (b *bench) username(arn string) string {
	b.t.Helper()
	a, err := iam.ParseARN(arn)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := b.store.Lookup(mapping.Principal{ARN: a})
	switch {
	case errors.Is(err, ErrNotLoaded):
		return "not loaded"
	case err != nil:
		return "nobody"
	}
	return m.Username.String()
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("not in time: %s\n%+v", what, b.store.Status())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *bench) becomes(arn, username string) {
	b.t.Helper()
	b.eventually(arn+" is "+username, func() bool { return b.username(arn) == username })
}

func role(name string) string { return "arn:aws:iam::111122223333:role/" + name }

func roles(names ...string) map[string]string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "- rolearn: %s\n  username: %s\n  groups: [g]\n", role(n), strings.ToLower(n))
	}
	return map[string]string{"mapRoles": b.String()}
}

func TestAWSAuthIsFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(roles("A", "B"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.awsAuth(roles("B", "C"))
	b.becomes(role("C"), "c")
	if got := b.username(role("A")); got != "nobody" {
		t.Errorf("A is %s: a change replaces the table", got)
	}
}

func TestNobodyIsRefusedBeforeTheFirstLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.kube.Refuse(503)
	b.start(mapping.BackendEKSConfigMap)
	if got := b.username(role("A")); got != "not loaded" {
		t.Errorf("got %s", got)
	}
	b.awsAuth(roles("A"))
	b.kube.Refuse(0)
	b.becomes(role("A"), "a")
}

func TestBrokenAWSAuthKeepsWhatWasGood(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"syntax":            "- rolearn: " + role("A") + "\n username: a\n",
		"unquoted template": "- rolearn: " + role("A") + "\n  username: {{SessionName}}\n",
		"number as name":    "- rolearn: " + role("A") + "\n  username: 12345\n",
		"number as group":   "- rolearn: " + role("A") + "\n  username: a\n  groups: [x, 5]\n",
		"unknown variable":  "- rolearn: " + role("A") + "\n  username: \"{{Nobody}}\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.awsAuth(roles("A"))
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			b.awsAuth(map[string]string{"mapRoles": broken, "mapUsers": "- userarn: arn:aws:iam::111122223333:user/U\n  username: u\n"})
			b.becomes("arn:aws:iam::111122223333:user/U", "u") // the change has arrived
			if got := b.username(role("A")); got != "a" {
				t.Errorf("A is %s", got)
			}
			st := b.store.Status()[0]
			if len(st.Findings) == 0 {
				t.Errorf("nothing is said: %+v", st)
			}
			b.eventually("an event", func() bool { return len(b.kube.Under(eventsPath)) > 0 })
			// A restart changes nothing.
			b.stop()
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			// And it heals.
			b.awsAuth(map[string]string{"mapRoles": roles("A", "C")["mapRoles"], "mapUsers": "[]"})
			b.becomes(role("C"), "c")
			if st := b.store.Status()[0]; len(st.Findings) != 0 || st.Problem != "" {
				t.Errorf("afterwards: %+v", st)
			}
		})
	}
}

func TestDeletedAWSAuthHasGrace(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*bench){
		"deleted": func(b *bench) { b.kube.Delete(awsAuthPath) },
		"emptied": func(b *bench) { b.awsAuth(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.awsAuth(roles("A"))
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			remove(b)
			b.eventually("it is said", func() bool { return strings.Contains(b.store.Status()[0].Problem, "stay in force until") })
			if got := b.username(role("A")); got != "a" {
				t.Errorf("A is %s", got)
			}
			// The grace time goes on over a restart, and does not begin anew.
			b.clock.advance(50 * time.Minute)
			b.stop()
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			b.stop()
			b.clock.advance(11 * time.Minute)
			b.kube.Refuse(503) // also if the API server is away
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "nobody")
			b.kube.Refuse(0)
			b.becomes(role("A"), "nobody")
			b.awsAuth(roles("A"))
			b.becomes(role("A"), "a")
		})
	}
}

func TestDeletionIsNotMissedWhileTheWatchIsLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(roles("A", "B"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.kube.Refuse(503)
	b.awsAuth(roles("B"))
	if got := b.username(role("A")); got != "a" {
		t.Errorf("A is %s while the API server is away", got)
	}
	b.kube.Refuse(0)
	b.becomes(role("A"), "nobody")
	b.becomes(role("B"), "b")
}

func TestWatchIsNotAskedForWithoutPause(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	_, before := b.kube.Counts()
	stop := time.Now().Add(time.Second)
	for time.Now().Before(stop) {
		b.kube.CutWatches()
		time.Sleep(time.Millisecond)
	}
	if _, after := b.kube.Counts(); after-before > 20 {
		t.Errorf("%d watches in a second", after-before)
	}
}

// healthy returns the metric that an alert would go by.
func (b *bench) healthy(backend string) bool {
	b.t.Helper()
	return b.metric("backend_healthy", backend) == 1
}

// metric returns the value of a gauge or counter whose only label, if it has
// one, has this value.
func (b *bench) metric(name, label string) float64 {
	b.t.Helper()
	families, err := b.metrics.Gatherer().Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "aws_iam_authenticator_"+name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	b.t.Fatalf("there is no metric %s of %q", name, label)
	return 0
}

// A watch that is lost is said, in whatever way it is lost, and not any more once
// it is back, even if nothing has changed meanwhile.
func TestLostWatchIsReported(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{mapping.BackendEKSConfigMap, mapping.BackendCRD} {
		for name, lose := range map[string]func(k *kubefake.Server, lost bool){
			"refused": func(k *kubefake.Server, lost bool) { k.Refuse(map[bool]int{true: 503}[lost]) },
			"closed":  func(k *kubefake.Server, lost bool) { k.HangUp(lost) },
		} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.awsAuth(roles("A"))
				b.identityMapping("a", "2026-01-01T00:00:00Z", map[string]any{"arn": role("A"), "username": "a"})
				b.start(backend)
				b.becomes(role("A"), "a")
				b.eventually("healthy", func() bool { return b.healthy(backend) })
				lose(b.kube, true)
				// client-go tries a closed connection ten times, a second apart.
				b.eventually("it is said", func() bool { return b.store.Status()[0].Problem != "" && !b.healthy(backend) })
				// As with the original, the metric of aws-auth's watch is of no other.
				counted := b.metric("configmap_watch_failures_total", "") > 0
				if counted != (backend == mapping.BackendEKSConfigMap) {
					t.Errorf("counted as a failure of aws-auth's watch: %t", counted)
				}
				if got := b.username(role("A")); got != "a" {
					t.Errorf("A is %s", got)
				}
				lose(b.kube, false)
				b.eventually("it is over", func() bool { return b.store.Status()[0].Problem == "" && b.healthy(backend) })
			})
		}
	}
}

func TestUnreadableAWSAuthAfterARestart(t *testing.T) {
	t.Parallel()
	for _, status := range []int{403, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			testUnreadable(t, status)
		})
	}
}

func testUnreadable(t *testing.T, status int) {
	b := newBench(t)
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.eventually("saved", func() bool { _, err := os.Stat(savedPath(b.dir, awsAuthName)); return err == nil })
	b.stop()
	b.kube.Refuse(status)
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	if p := b.store.Status()[0].Problem; !strings.Contains(p, "in force is what was saved at") {
		t.Errorf("problem %q", p)
	}
	b.awsAuth(roles("B"))
	b.kube.Refuse(0)
	b.becomes(role("A"), "nobody")
}

func TestRewrittenWithoutPause(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	for i := range 200 {
		b.awsAuth(roles("A", fmt.Sprintf("R%d", i)))
		if got := b.username(role("A")); got != "a" {
			t.Fatalf("A is %s", got)
		}
	}
	b.becomes(role("R199"), "r199")
}

func TestIdentityMappings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.identityMapping("older", "2026-01-01T00:00:00Z", map[string]any{"arn": role("path/A"), "username": "a", "groups": []any{"g"}})
	b.identityMapping("bad", "2026-01-01T00:00:00Z", map[string]any{"arn": "hello", "username": "x"})
	b.identityMapping("newer", "2026-02-01T00:00:00Z", map[string]any{"arn": role("a"), "username": "other"})
	b.identityMapping("user", "2026-02-01T00:00:00Z", map[string]any{"arn": "arn:aws:iam::111122223333:user/U", "username": "u"})
	b.start(mapping.BackendCRD)
	b.becomes(role("A"), "a")
	b.becomes("arn:aws:iam::111122223333:user/U", "u")
	condition := func(name string) string {
		status, _ := b.kube.Get(crdPath + "/" + name)["status"].(map[string]any)
		conditions, _ := status["conditions"].([]any)
		if len(conditions) != 1 {
			return ""
		}
		return fmt.Sprint(conditions[0].(map[string]any)["reason"], " ", status["canonicalARN"])
	}
	for name, want := range map[string]string{
		"older": "Accepted arn:aws:iam::111122223333:role/a",
		"newer": "Duplicate arn:aws:iam::111122223333:role/a",
		"bad":   "Invalid <nil>",
	} {
		b.eventually(name+" says "+want, func() bool { return condition(name) == want })
	}
	b.eventually("an event", func() bool { return len(b.kube.Under("/api/v1/namespaces/default/events")) > 0 })
	// What stands in a status lets nobody in.
	o := b.kube.Get(crdPath + "/user")
	o["status"] = map[string]any{"canonicalARN": role("evil")}
	b.kube.Put(crdPath+"/user", o)
	b.eventually("the status is put right", func() bool { return condition("user") == "Accepted arn:aws:iam::111122223333:user/u" })
	if got := b.username(role("evil")); got != "nobody" {
		t.Errorf("evil is %s", got)
	}
	// An edit that makes no sense keeps what was good; a deletion does not.
	b.identityMapping("older", "", map[string]any{"arn": role("A"), "username": "{{Nonsense}}"})
	b.eventually("it is said", func() bool { return strings.HasPrefix(condition("older"), "Invalid") })
	if got := b.username(role("A")); got != "a" {
		t.Errorf("A is %s", got)
	}
	b.kube.Delete(crdPath + "/older")
	b.becomes(role("A"), "other")
}

func TestExplicitMappingsComeBeforeAccounts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(map[string]string{"mapAccounts": "- \"111122223333\"\n"})
	b.identityMapping("a", "2026-01-01T00:00:00Z", map[string]any{"arn": role("A"), "username": "explicit"})
	b.start(mapping.BackendEKSConfigMap, mapping.BackendCRD)
	b.becomes(role("A"), "explicit")
	b.becomes(role("B"), role("B"))
}

func TestABackendThatNeverLoadsIsPassedOver(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Now()}
	s := NewStore([]string{mapping.BackendCRD, mapping.BackendMountedFile}, StoreOptions{Partition: "aws", Now: c.Now})
	b := &bench{t: t, store: s}
	s.Set(mapping.BackendMountedFile, mapping.Mappings{Roles: []mapping.Entry{{ARN: role("A"), Username: "a"}}}, nil, "")
	if got := b.username(role("A")); got != "not loaded" {
		t.Errorf("at first: %s", got)
	}
	c.advance(patience + time.Second)
	if got := b.username(role("A")); got != "a" {
		t.Errorf("later: %s", got)
	}
	if got := b.username(role("B")); got != "not loaded" {
		t.Errorf("B may be in the backend that has not loaded: %s", got)
	}
}
