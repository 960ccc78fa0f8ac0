package backend

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// Where aws-auth is.
const (
	awsAuthNamespace = "kube-system"
	awsAuthName      = "aws-auth"
	awsAuthObject    = "the ConfigMap " + awsAuthNamespace + "/" + awsAuthName
)

// ConfigMapOptions are the EKSConfigMap backend's.
type ConfigMapOptions struct {
	Client *ConfigMapClient
	Store  *Store
	// Grace is how long the entries of a deleted aws-auth, or of a key that was
	// removed or emptied, stay in force.
	Grace time.Duration
	// SnapshotDir keeps the last good table over a restart, for the cluster of
	// this ID; empty keeps none.
	SnapshotDir, ClusterID string
	Log                    *slog.Logger
	Metrics                *metrics.Metrics
	Events                 *Events
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// ConfigMap is the EKSConfigMap backend: one object, listed and watched.
type ConfigMap struct {
	opts ConfigMapOptions
	box  *mailbox[shown[*corev1.ConfigMap]]

	// Of the worker alone.
	last *mapping.AWSAuth
	// unknown are the sections that were broken whenever they were there, so
	// that nobody knows whom they map.
	unknown []string
	grace   grace
	saved   savedTable
	loaded  bool
	taken   int
	// stale says that in force is a table saved before this start, seen that it
	// is what the API server shows now.
	stale, seen bool
}

// seenEvery is how often a saved table is marked as still in force.
const seenEvery = 5 * time.Minute

// NewConfigMap returns the backend.
func NewConfigMap(opts ConfigMapOptions) *ConfigMap {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &ConfigMap{opts: opts, box: newMailbox[shown[*corev1.ConfigMap]](), grace: newGrace(opts.Grace, opts.Now)}
}

// Run watches aws-auth and takes over each change, until ctx ends.
func (c *ConfigMap) Run(ctx context.Context) {
	c.load()
	seen := time.NewTicker(seenEvery)
	defer seen.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		follow(ctx, source[*corev1.ConfigMap]{
			name: awsAuthNamespace + "/" + awsAuthName, selector: "metadata.name=" + awsAuthName,
			list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return c.opts.Client.List(ctx, o)
			},
			watch:    c.opts.Client.Watch,
			expected: &corev1.ConfigMap{},
		}, c.box, c.opts.Log, c.opts.Metrics)
	})
	for {
		select {
		case <-ctx.Done():
			c.saveSeen()
			return
		case <-seen.C:
			c.saveSeen()
			continue
		case <-c.box.ready:
		case <-c.graceOver():
			c.taken = -1 // judge the same state again
		}
		c.take(c.box.get())
	}
}

// load takes over what was saved before this start, if it can be read.
func (c *ConfigMap) load() {
	removeLeftovers(c.opts.SnapshotDir, awsAuthName)
	saved := loadTable(c.opts.SnapshotDir, awsAuthName, c.opts.ClusterID, c.opts.Log)
	if saved.Data == nil {
		return
	}
	last, err := mapping.Restore(saved.Saved)
	if err != nil {
		c.opts.Log.Warn("saved mappings not taken", "error", err.Error())
		return
	}
	if c.opts.Now().Sub(saved.SeenAt) > c.opts.Grace {
		c.opts.Log.Warn("saved mappings are old: where aws-auth is damaged, they count all the same", "seenAt", saved.SeenAt.UTC().Format(time.RFC3339))
	}
	c.saved, c.last = saved, last
	c.grace.resume(saved.Missing, saved.SeenAt)
}

// graceOver fires when the entries of something missing have been in force long
// enough.
func (c *ConfigMap) graceOver() <-chan time.Time {
	if !c.grace.keeping() || !c.loaded {
		return nil
	}
	return time.After(c.grace.left())
}

// take puts a state of aws-auth in force, as far as it is good.
func (c *ConfigMap) take(s shown[*corev1.ConfigMap]) {
	object := awsAuth(s.objects)
	switch {
	case s.version == c.taken:
		// Nothing new but the failure.
	case s.version == 0:
		// What was missing when it was last seen is taken to be so still.
		data := c.last.Data()
		maps.DeleteFunc(data, func(key, _ string) bool { _, missing := c.grace.since[key]; return missing })
		c.put(data, "", func(key string) string {
			return key + " was not in " + awsAuthObject + " when it was last seen"
		})
	case object == nil:
		c.stale = false
		const problem = awsAuthObject + " does not exist"
		c.put(nil, problem, func(string) string { return problem })
	default:
		c.stale = false
		c.present(object)
	}
	c.taken = s.version
	c.seen = s.version != 0 && s.failure == nil
	if c.seen {
		c.grace.unseen = time.Time{}
	}
	if s.failure != nil {
		c.unreadable(s.failure)
	}
}

// awsAuth finds the object among those shown. There is no other, if the API server
// heeds the selector.
func awsAuth(objects []*corev1.ConfigMap) *corev1.ConfigMap {
	for _, o := range objects {
		if o.Namespace == awsAuthNamespace && o.Name == awsAuthName {
			return o
		}
	}
	return nil
}

// unreadable is for an API server that does not show aws-auth. At the start, the
// table saved before is better than none; later, what is in force stays.
func (c *ConfigMap) unreadable(err error) {
	problem := fmt.Sprintf("%s cannot be read: %v", awsAuthObject, err)
	if c.last != nil && (c.stale || !c.loaded) {
		problem += "; in force is what was saved at " + c.saved.SavedAt.UTC().Format(time.RFC3339)
	}
	if c.last == nil || c.loaded {
		c.opts.Store.Fail(mapping.BackendEKSConfigMap, problem)
		return
	}
	c.loaded, c.stale = true, true
	c.opts.Store.Set(mapping.BackendEKSConfigMap, c.last.Mappings(), nil, problem)
}

// present is for an aws-auth that is there.
func (c *ConfigMap) present(object *corev1.ConfigMap) {
	problem := c.put(object.Data, "", func(key string) string {
		return key + " of " + awsAuthObject + " has been emptied (write [] if nobody is meant)"
	})
	findings := c.opts.Store.findings(mapping.BackendEKSConfigMap)
	if problem != "" {
		findings = append(slices.Clone(findings), mapping.Finding{Severity: mapping.Error, Key: awsAuthName, Index: -1, Message: problem})
	}
	c.opts.Events.Report(withoutData(object), findings)
}

// put puts in force what data says, and for what is wrong in it what was good
// last, and saves that. It returns the problem there is with it: what tells what
// has become of a section that is kept for the grace time, and if there is none
// the problem is the one given.
func (c *ConfigMap) put(data map[string]string, problem string, what func(section string) string) string {
	next, findings := mapping.ParseWithLastGood(data, c.last)
	if kept := c.grace.keep(next, c.last, what); kept != "" {
		problem = kept
	}
	c.unknown = slices.DeleteFunc(next.Unreadable(), func(key string) bool {
		return c.last != nil && !slices.Contains(c.unknown, key)
	})
	c.last, c.loaded = next, true
	m := next.Mappings()
	if len(c.unknown) > 0 {
		// A pod that is replaced now leaves behind one that knows better.
		problem = strings.Join(c.unknown, ", ") + " of " + awsAuthObject + " cannot be read, and there is no last good one: whom it maps is not known"
		c.opts.Store.SetPartly(mapping.BackendEKSConfigMap, m, findings, problem)
		return problem
	}
	c.opts.Store.Set(mapping.BackendEKSConfigMap, m, findings, problem)
	c.save(next)
	return problem
}

// save keeps a table over a restart.
func (c *ConfigMap) save(table *mapping.AWSAuth) {
	if c.opts.SnapshotDir == "" {
		return
	}
	last := table.Saved()
	if len(last.Data) == 0 && c.saved.Data == nil {
		return // there was nothing, and is nothing
	}
	saved, seen := c.opts.Now(), c.opts.Now()
	if c.stale { // as it was at the start, but for what the grace time has ended
		saved, seen = c.saved.SavedAt, c.saved.SeenAt
	}
	c.saved = savedTable{
		ClusterID: c.opts.ClusterID, Saved: last,
		SavedAt: saved, SeenAt: seen, Missing: maps.Clone(c.grace.since),
	}
	c.storeSaved()
}

// saveSeen marks the saved table as in force until now.
func (c *ConfigMap) saveSeen() {
	if c.opts.SnapshotDir == "" || c.saved.Data == nil || !c.seen || len(c.unknown) > 0 || c.outdated() {
		return
	}
	c.saved.SeenAt = c.opts.Now()
	c.storeSaved()
}

// outdated tells whether another server has saved another table since: the pod, on
// the same node, that takes over from this one, or took over to it.
func (c *ConfigMap) outdated() bool {
	other := loadTable(c.opts.SnapshotDir, awsAuthName, c.opts.ClusterID, c.opts.Log)
	return other.SavedAt.After(c.saved.SavedAt) && !reflect.DeepEqual(other.Saved, c.saved.Saved)
}

func (c *ConfigMap) storeSaved() {
	if err := c.saved.store(c.opts.SnapshotDir, awsAuthName); err != nil {
		c.opts.Log.Warn("last good mappings not saved", "error", err.Error())
	}
}

// findings returns what is wrong in a backend's newest state.
func (s *Store) findings(name string) []mapping.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backend(name).findings
}
