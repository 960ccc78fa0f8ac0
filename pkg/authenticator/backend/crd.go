package backend

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

var identityMappings = schema.GroupVersionResource{Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings"}

// CRDOptions are the CRD backend's.
type CRDOptions struct {
	Client    dynamic.Interface
	Store     *Store
	Partition string
	Log       *slog.Logger
	Events    *Events
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// CRD is the backend of IAMIdentityMapping objects. It goes by their spec; what
// stands in their status is said, never believed, so that who may write a
// status cannot let anybody in.
type CRD struct {
	opts     CRDOptions
	box      *mailbox[shown[*unstructured.Unstructured]]
	statuses *statuses

	// What follows is the worker's alone.
	held  map[types.UID]*held
	taken int
	// set is what was last put in force; nil if it has to be put there again.
	set *table
}

// held is what is known of one object.
type held struct {
	// object is the state of it that the rest is about.
	object  *unstructured.Unstructured
	name    string
	created time.Time
	// err says what is wrong with it.
	err error
	// canonical is its ARN as logins are compared with it.
	canonical string
	// good is its last good entry; nil if there was none.
	good *mapping.Entry
	// arn is that of the last good entry, or if there was none what the object
	// says; it is zero if that makes no sense.
	arn iam.ARN
	// verdict is the last that was to be said.
	verdict verdict
}

// table is what the objects say together.
type table struct {
	mappings mapping.Mappings
	findings []mapping.Finding
}

// NewCRD returns the backend.
func NewCRD(opts CRDOptions) *CRD {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &CRD{
		opts: opts, box: newMailbox[shown[*unstructured.Unstructured]](), held: map[types.UID]*held{},
		statuses: newStatuses(opts.Client.Resource(identityMappings), opts.Log, opts.Now),
	}
}

// Run watches the objects and takes over each change, until ctx ends.
func (c *CRD) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		resource := c.opts.Client.Resource(identityMappings)
		follow(ctx, source[*unstructured.Unstructured]{
			name:     "iamidentitymappings",
			list:     func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return resource.List(ctx, o) },
			watch:    resource.Watch,
			expected: &unstructured.Unstructured{},
		}, c.box, c.opts.Log, nil)
	})
	wg.Go(func() { c.statuses.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.box.ready:
		}
		s := c.box.get()
		if s.version != c.taken {
			c.taken = s.version
			c.take(s.objects)
		}
		if s.failure != nil {
			c.set = nil
			c.opts.Store.Fail(mapping.BackendCRD, fmt.Sprintf("IAMIdentityMappings cannot be read: %v", s.failure))
		}
	}
}

// take puts the objects in force, and has said what became of each.
func (c *CRD) take(objects []*unstructured.Unstructured) {
	all := c.hold(objects)
	t, verdicts := judge(all)
	// Most changes are of statuses, which are not worth a new index.
	if c.set == nil || !reflect.DeepEqual(t, c.set) {
		c.set = t
		c.opts.Store.Set(mapping.BackendCRD, t.mappings, t.findings, "")
	}
	for i, v := range verdicts {
		c.say(all[i], v)
	}
}

// hold reads the objects that have changed, forgets those that are gone, and
// returns what is known of the others, oldest first.
func (c *CRD) hold(objects []*unstructured.Unstructured) []*held {
	all := make([]*held, 0, len(objects))
	alive := make(map[types.UID]bool, len(objects))
	for _, o := range objects {
		alive[o.GetUID()] = true
		h := c.held[o.GetUID()]
		if h == nil {
			h = &held{}
			c.held[o.GetUID()] = h
		}
		if h.object != o {
			h.read(o, c.opts.Partition)
		}
		all = append(all, h)
	}
	for uid, h := range c.held {
		if !alive[uid] {
			delete(c.held, uid)
			c.statuses.forget(uid)
			c.opts.Events.Forget(h.object)
		}
	}
	slices.SortFunc(all, func(a, b *held) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name)) })
	return all
}

func (h *held) read(o *unstructured.Unstructured, partition string) {
	text, _, _ := unstructured.NestedString(o.Object, "spec", "arn")
	h.object, h.name, h.created = o, o.GetName(), o.GetCreationTimestamp().Time
	h.canonical = canonicalARN(text)
	e, arn, err := entry(o, partition)
	h.err = err
	if err == nil {
		h.good = &e
	}
	if err == nil || h.good == nil {
		h.arn = arn
	}
}

// judge returns what the objects, oldest first, say together, and what becomes of
// each. If two name one principal, the older counts, whatever their order in a
// list, and also if it makes no sense and never has: a server that has started
// since cannot know what it said, and the younger must not come into force by that.
func judge(objects []*held) (*table, []verdict) {
	t := &table{}
	verdicts := make([]verdict, 0, len(objects))
	holders := make(map[iam.Key]*held, len(objects))
	for _, h := range objects {
		v := verdict{object: h.object, canonical: h.canonical, reason: reasonAccepted, message: "in force"}
		if h.err != nil {
			v.reason, v.message = reasonInvalid, h.err.Error()
		}
		var holder *held
		if h.arn != (iam.ARN{}) {
			key := h.arn.Key()
			if holder = holders[key]; holder == nil {
				holder, holders[key] = h, h
			}
		}
		switch {
		case h.good == nil && holder == h:
			v.message += "; until it is mended, no younger IAMIdentityMapping of its ARN is in force either"
		case h.good == nil:
		case holder == h:
			if h.err != nil {
				v.message += "; what it said before stays in force"
			}
			t.add(h)
		default:
			v.reason, v.message = reasonDuplicate, "not in force: the older IAMIdentityMapping "+holder.name+" names the same principal"
			if holder.good == nil {
				v.message += ", and is not in order: mend or delete it"
			}
		}
		if v.reason != reasonAccepted {
			t.findings = append(t.findings, v.finding())
		}
		verdicts = append(verdicts, v)
	}
	return t, verdicts
}

// add puts an object's last good entry in.
func (t *table) add(h *held) {
	to := &t.mappings.Roles
	if h.arn.Kind == iam.KindUser {
		to = &t.mappings.Users
	}
	*to = append(*to, *h.good)
}

// say has a verdict written into its object's status, and an event if it is new
// and not good. Neither is waited for.
func (c *CRD) say(h *held, v verdict) {
	before := h.verdict
	if before == v {
		return
	}
	h.verdict = v
	c.statuses.put(v)
	if before.text() == v.text() {
		return
	}
	switch {
	case v.reason == reasonAccepted:
		c.opts.Events.Report(v.object, nil)
	case !v.standsIn(v.object):
		f := v.finding()
		f.Source = "" // it is on the object
		c.opts.Events.Report(v.object, []mapping.Finding{f})
	}
}

// entry reads an object's spec. The ARN is there also if something else is wrong,
// as long as it makes sense.
func entry(o *unstructured.Unstructured, partition string) (mapping.Entry, iam.ARN, error) {
	text, _, err1 := unstructured.NestedString(o.Object, "spec", "arn")
	username, _, err2 := unstructured.NestedString(o.Object, "spec", "username")
	groups, _, err3 := unstructured.NestedStringSlice(o.Object, "spec", "groups")
	e := mapping.Entry{ARN: text, Username: username, Groups: groups}
	arn, err := iam.ParseARNAnyCase(text)
	if err != nil {
		arn, err = iam.ARN{}, fmt.Errorf("spec.arn: %w", err)
	}
	for _, typed := range []error{err1, err2, err3} {
		if typed != nil {
			return e, arn, fmt.Errorf("spec: %w", typed)
		}
	}
	if err != nil {
		return e, arn, err
	}
	// The index is what decides at logins, so it decides here.
	one := mapping.Mappings{Roles: []mapping.Entry{e}}
	if arn.Kind == iam.KindUser {
		one = mapping.Mappings{Users: []mapping.Entry{e}}
	}
	_, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendCRD, Mappings: one}}, mapping.IndexOptions{Partition: partition})
	for _, f := range findings {
		if f.Severity == mapping.Error {
			return e, arn, fmt.Errorf("spec.%s: %s", f.Field, f.Message)
		}
	}
	return e, arn, nil
}
