package backend

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// Where aws-auth is.
const (
	awsAuthNamespace = "kube-system"
	awsAuthName      = "aws-auth"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// ConfigMapOptions are the EKSConfigMap backend's.
type ConfigMapOptions struct {
	Client dynamic.Interface
	Store  *Store
	// Grace is how long the entries of a deleted or emptied aws-auth stay in
	// force.
	Grace time.Duration
	// SnapshotDir keeps the last good table over a restart; empty keeps none.
	SnapshotDir string
	Log         *slog.Logger
	Metrics     *metrics.Metrics
	Events      *Events
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// ConfigMap is the EKSConfigMap backend: one object, listed and watched.
type ConfigMap struct {
	opts ConfigMapOptions
	box  *mailbox[shown]

	// Of the worker alone.
	last    *mapping.AWSAuth
	missing time.Time
	saved   savedTable
	loaded  bool
	taken   int
	// stale says that in force is a table saved before this start.
	stale bool
}

// NewConfigMap returns the backend.
func NewConfigMap(opts ConfigMapOptions) *ConfigMap {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &ConfigMap{opts: opts, box: newMailbox[shown]()}
}

// Run watches aws-auth and takes over each change, until ctx ends.
func (c *ConfigMap) Run(ctx context.Context) {
	c.saved = loadTable(c.opts.SnapshotDir, awsAuthName, c.opts.Log)
	if c.saved.Data != nil {
		c.last, _ = mapping.Parse(c.saved.Data)
		c.missing = c.saved.MissingSince
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		follow(ctx, awsAuthNamespace+"/"+awsAuthName, c.opts.Client.Resource(configMaps).Namespace(awsAuthNamespace),
			"metadata.name="+awsAuthName, c.box, c.opts.Log, c.opts.Metrics)
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.box.ready:
		case <-c.graceOver():
			c.taken = -1 // judge the same state again
		}
		c.take(c.box.get())
	}
}

// graceOver fires when the entries of a missing aws-auth have been in force
// long enough.
func (c *ConfigMap) graceOver() <-chan time.Time {
	if c.missing.IsZero() || !c.loaded {
		return nil
	}
	return time.After(c.missing.Add(c.opts.Grace).Sub(c.opts.Now()))
}

// take puts a state of aws-auth in force, as far as it is good.
func (c *ConfigMap) take(s shown) {
	object := awsAuth(s.objects)
	switch {
	case s.version == c.taken:
		// Nothing new but the failure.
	case s.version == 0:
		c.gone(nil, "the ConfigMap "+awsAuthNamespace+"/"+awsAuthName+" was not there when it was last seen")
	case object == nil:
		c.stale = false
		c.gone(nil, "the ConfigMap "+awsAuthNamespace+"/"+awsAuthName+" does not exist")
	default:
		c.stale = false
		c.present(object)
	}
	c.taken = s.version
	if s.failure != nil {
		c.unreadable(s.failure)
	}
}

// awsAuth finds the object among those shown. There is no other, if the API server
// heeds the selector.
func awsAuth(objects []*unstructured.Unstructured) *unstructured.Unstructured {
	for _, o := range objects {
		if o.GetNamespace() == awsAuthNamespace && o.GetName() == awsAuthName {
			return o
		}
	}
	return nil
}

// unreadable is for an API server that does not show aws-auth. At the start, the
// table saved before is better than none; later, what is in force stays.
func (c *ConfigMap) unreadable(err error) {
	problem := fmt.Sprintf("the ConfigMap %s/%s cannot be read: %v", awsAuthNamespace, awsAuthName, err)
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
func (c *ConfigMap) present(object *unstructured.Unstructured) {
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		c.opts.Store.Fail(mapping.BackendEKSConfigMap, "data is not a map of strings")
		return
	}
	next, findings := mapping.ParseWithLastGood(data, c.last)
	m := next.Mappings()
	if empty(m) && c.last != nil && !empty(c.last.Mappings()) {
		c.gone(object, "the ConfigMap "+awsAuthNamespace+"/"+awsAuthName+" has been emptied")
		return
	}
	c.last, c.missing, c.loaded = next, time.Time{}, true
	c.opts.Store.Set(mapping.BackendEKSConfigMap, m, findings, "")
	c.opts.Events.Report(object, c.opts.Store.findings(mapping.BackendEKSConfigMap))
	c.save(goodText(data, m, findings))
}

// goodText returns data that gives a table when it is read without the last good
// one: the text as it came if nothing in it is wrong, as writing a large table
// anew takes longer than all else of a reload.
func goodText(data map[string]string, m mapping.Mappings, findings []mapping.Finding) map[string]string {
	if slices.ContainsFunc(findings, func(f mapping.Finding) bool { return f.Severity == mapping.Error }) {
		return mapping.Encode(m)
	}
	good := make(map[string]string, 3)
	for _, key := range []string{mapping.MapRoles, mapping.MapUsers, mapping.MapAccounts} {
		if text, ok := data[key]; ok {
			good[key] = text
		}
	}
	return good
}

// gone is for an aws-auth that was deleted or emptied. Whoever did it may have
// locked everybody out, so the entries stay for the grace time.
func (c *ConfigMap) gone(object *unstructured.Unstructured, what string) {
	if c.last == nil || empty(c.last.Mappings()) {
		problem := ""
		if object == nil {
			problem = what
		}
		c.loaded = true
		c.opts.Store.Set(mapping.BackendEKSConfigMap, mapping.Mappings{}, nil, problem)
		return
	}
	now := c.opts.Now()
	if c.missing.IsZero() {
		c.missing = now
		c.save(mapping.Encode(c.last.Mappings()))
	}
	end := c.missing.Add(c.opts.Grace)
	c.loaded = true
	if now.Before(end) {
		problem := what + "; its last entries stay in force until " + end.UTC().Format(time.RFC3339)
		c.opts.Store.Set(mapping.BackendEKSConfigMap, c.last.Mappings(), nil, problem)
		if object != nil {
			c.opts.Events.Report(object, []mapping.Finding{{Severity: mapping.Error, Index: -1, Message: problem}})
		}
		return
	}
	c.last, c.missing = nil, time.Time{}
	c.opts.Store.Set(mapping.BackendEKSConfigMap, mapping.Mappings{}, nil, what+"; the time for putting it right is over, and nobody is mapped by it")
	c.save(map[string]string{})
}

// save keeps a table over a restart.
func (c *ConfigMap) save(data map[string]string) {
	if c.opts.SnapshotDir == "" {
		return
	}
	c.saved = savedTable{Data: data, SavedAt: c.opts.Now(), MissingSince: c.missing}
	if err := c.saved.store(c.opts.SnapshotDir, awsAuthName); err != nil {
		c.opts.Log.Warn("last good mappings not saved", "error", err.Error())
	}
}

func empty(m mapping.Mappings) bool {
	return len(m.Roles)+len(m.Users)+len(m.Accounts) == 0
}

// findings returns what is wrong in a backend's newest state.
func (s *Store) findings(name string) []mapping.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backend(name).findings
}
