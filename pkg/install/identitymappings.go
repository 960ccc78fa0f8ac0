package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

var identityMappings = schema.GroupVersionResource{
	Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings",
}

// IdentityPlan is what has to happen to the IAMIdentityMappings of a cluster so
// that they are what a spec wants.
type IdentityPlan struct {
	Create []*unstructured.Unstructured
	// Update holds pairs of what is there and what it becomes.
	Update []IdentityUpdate
	Delete []*unstructured.Unstructured
	// Foreign ones are other writers'. They stay.
	Foreign []*unstructured.Unstructured

	unchanged []*unstructured.Unstructured
}

// IdentityUpdate is an IAMIdentityMapping before and after.
type IdentityUpdate struct {
	Before, After *unstructured.Unstructured
}

// Empty tells whether there is nothing to do.
func (p *IdentityPlan) Empty() bool { return len(p.Create)+len(p.Update)+len(p.Delete) == 0 }

// Lines returns the plan for people, one line a change.
func (p *IdentityPlan) Lines() []string {
	var lines []string
	for _, u := range p.Create {
		lines = append(lines, "+ "+sentence(u))
	}
	for _, u := range p.Delete {
		lines = append(lines, "- "+sentence(u))
	}
	for _, u := range p.Update {
		lines = append(lines, "~ "+sentence(u.Before)+"  =>  "+sentence(u.After))
	}
	return lines
}

func sentence(u *unstructured.Unstructured) string {
	e := entry(u)
	text := e.ARN + " as " + e.Username
	if len(e.Groups) > 0 {
		text += ", groups " + strings.Join(e.Groups, ", ")
	}
	return text
}

// After returns the table as it is after the plan, other writers' entries
// included, for the guard against locking oneself out.
func (p *IdentityPlan) After() mapping.Mappings {
	var m mapping.Mappings
	for _, u := range slices.Concat(p.unchanged, p.Create, p.Foreign) {
		m.Roles = append(m.Roles, entry(u))
	}
	for _, u := range p.Update {
		m.Roles = append(m.Roles, entry(u.After))
	}
	return m
}

func entry(u *unstructured.Unstructured) mapping.Entry {
	arn, _, _ := unstructured.NestedString(u.Object, "spec", "arn")
	username, _, _ := unstructured.NestedString(u.Object, "spec", "username")
	groups, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "groups")
	return mapping.Entry{ARN: arn, Username: username, Groups: groups}
}

// PlanIdentityMappings works out what EnsureIdentityMappings would do, and
// writes nothing. Desired is what render.IdentityMappings returns. Before the
// CRD is there, there is nothing to compare with.
func (i *Installer) PlanIdentityMappings(ctx context.Context, desired []*unstructured.Unstructured) (*IdentityPlan, error) {
	list, err := i.dynamic.Resource(identityMappings).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		list, err = &unstructured.UnstructuredList{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", render.IdentityMappingKind, err)
	}
	return planIdentityMappings(list.Items, desired)
}

func planIdentityMappings(live []unstructured.Unstructured, desired []*unstructured.Unstructured) (*IdentityPlan, error) {
	p := &IdentityPlan{}
	ours := map[string]*unstructured.Unstructured{}
	foreign := map[string]*unstructured.Unstructured{}
	for n := range live {
		u := &live[n]
		if u.GetLabels()[render.ManagedByLabel] == render.ManagedBy {
			ours[u.GetName()] = u
			continue
		}
		p.Foreign = append(p.Foreign, u)
		foreign[principal(u)] = u
	}
	for _, want := range desired {
		if other := foreign[principal(want)]; other != nil {
			// capiam's authenticator goes by the older of two objects for one
			// principal, which would be the other; aws-iam-authenticator goes by
			// either.
			return nil, fmt.Errorf("%s is for %s, which the spec maps too: delete it, or label it %s=%s to hand it over",
				describe(other), entry(want).ARN, render.ManagedByLabel, render.ManagedBy)
		}
		have := ours[want.GetName()]
		delete(ours, want.GetName())
		switch {
		case have == nil:
			p.Create = append(p.Create, want)
		case equality.Semantic.DeepEqual(have.Object["spec"], want.Object["spec"]):
			p.unchanged = append(p.unchanged, have)
		default:
			after := have.DeepCopy()
			after.Object["spec"] = want.Object["spec"]
			p.Update = append(p.Update, IdentityUpdate{Before: have, After: after})
		}
	}
	for _, u := range ours {
		p.Delete = append(p.Delete, u)
	}
	slices.SortFunc(p.Delete, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return p, nil
}

// principal is the same for every spelling of an ARN.
func principal(u *unstructured.Unstructured) string {
	text := entry(u).ARN
	arn, err := iam.ParseARNAnyCase(text)
	if err != nil {
		return text
	}
	return arn.Key().String()
}

// EnsureIdentityMappings makes capiam's IAMIdentityMappings be the desired
// ones. Those of other writers stay. Approve, if not nil, is shown the plan
// before it is carried out, as in ApplyAWSAuth. Rights are given before others
// are taken away. Run again after an error, it does what is left.
func (i *Installer) EnsureIdentityMappings(ctx context.Context, desired []*unstructured.Unstructured, approve func(*IdentityPlan) error) (*IdentityPlan, error) {
	plan, err := i.PlanIdentityMappings(ctx, desired)
	if err != nil || plan.Empty() {
		return plan, err
	}
	if approve != nil {
		if err := approve(plan); err != nil {
			return plan, err
		}
	}
	client := i.dynamic.Resource(identityMappings)
	for _, u := range plan.Create {
		if _, err := client.Create(ctx, u, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
			return plan, fmt.Errorf("create %s as %s: %w", describe(u), FieldManager, err)
		}
	}
	for _, u := range plan.Update {
		if _, err := client.Update(ctx, u.After, metav1.UpdateOptions{FieldManager: FieldManager}); err != nil {
			return plan, fmt.Errorf("update %s as %s: %w", describe(u.After), FieldManager, err)
		}
	}
	for _, u := range plan.Delete {
		if err := i.deleteUnchanged(ctx, client, u); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// deleteUnchanged deletes an object if it still is what was planned with.
func (i *Installer) deleteUnchanged(ctx context.Context, client dynamic.ResourceInterface, u *unstructured.Unstructured) error {
	uid, version := u.GetUID(), u.GetResourceVersion()
	err := client.Delete(ctx, u.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", describe(u), err)
	}
	return nil
}
