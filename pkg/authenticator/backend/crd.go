package backend

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	opts CRDOptions
	box  *mailbox[shown]

	// good holds the last good entry of each object. It is the worker's alone.
	good  map[types.UID]mapping.Entry
	taken int
	// said holds the status last written for each object: with the original's
	// CRD, the API server drops the condition, and must not be asked again and
	// again.
	said map[types.UID]string
}

// NewCRD returns the backend.
func NewCRD(opts CRDOptions) *CRD {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &CRD{opts: opts, box: newMailbox[shown](), good: map[types.UID]mapping.Entry{}, said: map[types.UID]string{}}
}

// Run watches the objects and takes over each change, until ctx ends.
func (c *CRD) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		follow(ctx, "iamidentitymappings", c.opts.Client.Resource(identityMappings), "", c.box, c.opts.Log, nil)
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.box.ready:
		}
		s := c.box.get()
		if s.version != c.taken {
			c.taken = s.version
			c.take(ctx, s.objects)
		}
		if s.failure != nil {
			c.opts.Store.Fail(mapping.BackendCRD, fmt.Sprintf("IAMIdentityMappings cannot be read: %v", s.failure))
		}
	}
}

// verdict is what became of one object.
type verdict struct {
	object    *unstructured.Unstructured
	canonical string
	reason    string
	message   string
}

// take puts the objects in force. If two name one principal, the older counts,
// whatever their order in a list.
func (c *CRD) take(ctx context.Context, objects []*unstructured.Unstructured) {
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int {
		at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(at.Compare(bt.Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	var (
		m        mapping.Mappings
		findings []mapping.Finding
		verdicts = make([]verdict, 0, len(objects))
		holder   = map[iam.Key]string{}
		alive    = map[types.UID]bool{}
	)
	for _, o := range objects {
		alive[o.GetUID()] = true
		v := verdict{object: o, reason: "Accepted", message: "in force"}
		e, arn, err := c.entry(o)
		if err != nil {
			v.reason, v.message = "Invalid", err.Error()
			if last, ok := c.good[o.GetUID()]; ok {
				e, v.message = last, v.message+"; what it said before stays in force"
				arn, err = iam.ParseARN(last.ARN)
			}
		} else {
			c.good[o.GetUID()] = e
		}
		if err == nil {
			v.canonical = arn.Key().String()
			if other, taken := holder[arn.Key()]; taken {
				v.reason, v.message = "Duplicate", "not in force: the older IAMIdentityMapping "+other+" names the same principal"
			} else {
				holder[arn.Key()] = o.GetName()
				if arn.Kind == iam.KindUser {
					m.Users = append(m.Users, e)
				} else {
					m.Roles = append(m.Roles, e)
				}
			}
		}
		if v.reason != "Accepted" {
			severity := mapping.Error
			if v.reason == "Duplicate" {
				severity = mapping.Warning
			}
			findings = append(findings, mapping.Finding{Severity: severity, Source: mapping.BackendCRD, Key: "IAMIdentityMapping/" + o.GetName(), Index: -1, Message: v.message})
		}
		verdicts = append(verdicts, v)
	}
	for uid := range c.good {
		if !alive[uid] {
			delete(c.good, uid)
			delete(c.said, uid)
		}
	}
	c.opts.Store.Set(mapping.BackendCRD, m, findings, "")
	for _, v := range verdicts {
		c.say(ctx, v)
	}
}

// entry reads an object's spec.
func (c *CRD) entry(o *unstructured.Unstructured) (mapping.Entry, iam.ARN, error) {
	text, _, err1 := unstructured.NestedString(o.Object, "spec", "arn")
	username, _, err2 := unstructured.NestedString(o.Object, "spec", "username")
	groups, _, err3 := unstructured.NestedStringSlice(o.Object, "spec", "groups")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return mapping.Entry{}, iam.ARN{}, fmt.Errorf("spec: %w", err)
		}
	}
	e := mapping.Entry{ARN: text, Username: username, Groups: groups}
	arn, err := iam.ParseARN(text)
	if err != nil {
		return e, arn, fmt.Errorf("spec.arn: %w", err)
	}
	// The index is what decides at logins, so it decides here.
	one := mapping.Mappings{Roles: []mapping.Entry{e}}
	if arn.Kind == iam.KindUser {
		one = mapping.Mappings{Users: []mapping.Entry{e}}
	}
	_, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendCRD, Mappings: one}}, mapping.IndexOptions{Partition: c.opts.Partition})
	for _, f := range findings {
		if f.Severity == mapping.Error {
			return e, arn, fmt.Errorf("spec.%s: %s", f.Field, f.Message)
		}
	}
	return e, arn, nil
}

// conditionAccepted is the condition that says whether an object is in force.
const conditionAccepted = "Accepted"

// say writes what became of an object into its status, and an event if it is
// not in force.
func (c *CRD) say(ctx context.Context, v verdict) {
	text := v.canonical + "\n" + v.reason + "\n" + v.message
	uid := v.object.GetUID()
	canonical, _, _ := unstructured.NestedString(v.object.Object, "status", "canonicalARN")
	if saysAlready(v, canonical) || c.said[uid] == text && canonical == v.canonical {
		c.said[uid] = text
		return
	}
	c.said[uid] = text
	if v.reason == "Accepted" {
		c.opts.Events.Report(v.object, nil)
	} else {
		c.opts.Events.Report(v.object, []mapping.Finding{{Severity: mapping.Error, Key: "IAMIdentityMapping/" + v.object.GetName(), Index: -1, Message: v.message}})
	}
	status := metav1.ConditionTrue
	if v.reason != "Accepted" {
		status = metav1.ConditionFalse
	}
	o := v.object.DeepCopy()
	set := map[string]any{
		"conditions": []any{map[string]any{
			"type": conditionAccepted, "status": string(status), "reason": v.reason, "message": v.message,
			"observedGeneration": o.GetGeneration(),
			"lastTransitionTime": c.opts.Now().UTC().Format(time.RFC3339),
		}},
	}
	if v.canonical != "" {
		set["canonicalARN"] = v.canonical
	}
	if id, ok, _ := unstructured.NestedString(o.Object, "status", "userID"); ok {
		set["userID"] = id
	}
	o.Object["status"] = set
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// A conflict means that the object has changed, or that another server has
	// said the same.
	if _, err := c.opts.Client.Resource(identityMappings).UpdateStatus(wait, o, metav1.UpdateOptions{}); err != nil {
		c.opts.Log.Debug("status not written", "object", o.GetName(), "error", err.Error())
	}
}

// saysAlready tells whether an object's status says what it should.
func saysAlready(v verdict, canonical string) bool {
	conditions, _, _ := unstructured.NestedSlice(v.object.Object, "status", "conditions")
	if canonical != v.canonical {
		return false
	}
	for _, c := range conditions {
		m, ok := c.(map[string]any)
		if ok && m["type"] == conditionAccepted {
			return m["reason"] == v.reason && m["message"] == v.message
		}
	}
	return false
}
