package workflow

import (
	"context"
	"fmt"
	"strings"

	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// mappingPlan is a change of who may log in, in whatever backend it is kept.
type mappingPlan struct {
	// lines say what changes, and foreign which entries of other writers stay.
	lines   []string
	foreign []string
	empty   bool
	// settings says that something besides the table changes, such as which
	// groups are bound to cluster-admin.
	settings bool
	// broken says that the live table cannot be read in part, and so cannot be
	// changed.
	broken bool
	// after is the table once the plan is carried out.
	after mapping.Mappings
	// changed are the entries that are new or become different, removed those
	// that go.
	changed, removed []mapping.Entry
	// addedAccounts and removedAccounts are those of mapAccounts.
	addedAccounts, removedAccounts []string
}

// planMappings works out the change, and writes nothing.
func (w *workload) planMappings(ctx context.Context) (*mappingPlan, error) {
	if err := w.connect(); err != nil {
		return nil, err
	}
	if render.InCRD(w.spec) {
		plan, err := w.installer.PlanIdentityMappings(ctx, w.rendered.Mappings)
		if err != nil {
			return nil, err
		}
		return identityPlan(plan), nil
	}
	plan, err := w.installer.PlanAWSAuth(ctx, render.Mappings(w.spec))
	if err != nil {
		return nil, err
	}
	return awsAuthPlan(plan), nil
}

// applyMappings carries the change out, if approve lets it. The function it
// returns puts back what was there before; it is never nil.
func (w *workload) applyMappings(ctx context.Context, approve func(*mappingPlan) error) (plan *mappingPlan, undo func(context.Context) error, err error) {
	undo = func(context.Context) error { return nil }
	if err := w.connect(); err != nil {
		return nil, undo, err
	}
	if render.InCRD(w.spec) {
		plan, err := w.installer.EnsureIdentityMappings(ctx, w.rendered.Mappings, func(p *install.IdentityPlan) error {
			return approve(identityPlan(p))
		})
		if plan == nil {
			return nil, undo, err
		}
		return identityPlan(plan), func(ctx context.Context) error { return w.installer.UndoIdentityMappings(ctx, plan) }, err
	}
	before, err := w.installer.SnapshotAWSAuth(ctx)
	if err != nil {
		return nil, undo, err
	}
	p, _, err := w.installer.ApplyAWSAuth(ctx, render.Mappings(w.spec), func(p *mapping.Plan) error {
		return approve(awsAuthPlan(p))
	})
	if err != nil {
		return nil, undo, err
	}
	after, err := w.installer.SnapshotAWSAuth(ctx)
	if err != nil {
		after = &install.AWSAuthSnapshot{} // then entry by entry
	}
	return awsAuthPlan(p), func(ctx context.Context) error { return w.installer.RestoreAWSAuth(ctx, before, after) }, nil
}

func awsAuthPlan(p *mapping.Plan) *mappingPlan {
	plan := &mappingPlan{empty: p.Empty(), after: p.After(), broken: len(p.Broken) > 0}
	for _, line := range p.Lines() {
		// What stays is no change, and is told of apart.
		if !strings.HasPrefix(line, "=") {
			plan.lines = append(plan.lines, line)
		}
	}
	for _, item := range p.Foreign {
		plan.foreign = append(plan.foreign, item.String())
	}
	for _, item := range p.Added {
		if item.Account != "" {
			plan.addedAccounts = append(plan.addedAccounts, item.Account)
			continue
		}
		plan.changed = append(plan.changed, item.Entry)
	}
	for _, change := range p.Changed {
		plan.changed = append(plan.changed, change.After)
	}
	for _, item := range p.Removed {
		if item.Account != "" {
			plan.removedAccounts = append(plan.removedAccounts, item.Account)
			continue
		}
		plan.removed = append(plan.removed, item.Entry)
	}
	return plan
}

func identityPlan(p *install.IdentityPlan) *mappingPlan {
	plan := &mappingPlan{lines: p.Lines(), empty: p.Empty(), after: p.After()}
	for _, u := range p.Foreign {
		plan.foreign = append(plan.foreign, u.GetName())
	}
	plan.changed, plan.removed = p.Changed(), p.Removed()
	return plan
}

// guard refuses a change that would lock everybody out.
func (w *workload) guard(plan *mappingPlan, o UpgradeOptions) error {
	if o.AllowLockout || plan.empty && !plan.settings {
		return nil
	}
	if plan.broken {
		return nil // it has to be mended first, and says so itself
	}
	if err := w.checkAdmins(plan.after); err != nil {
		return fmt.Errorf("%w; nothing was changed (--allow-lockout makes the change all the same)", err)
	}
	return nil
}

// checkAdmins returns an error if a table, with the spec's group bindings, leaves
// nobody who may do everything.
func (w *workload) checkAdmins(table mapping.Mappings) error {
	admins := []string{"system:masters"}
	for _, b := range w.spec.GroupBindings() {
		if b.ClusterRole == "cluster-admin" && b.Namespace == "" {
			admins = append(admins, b.Group)
		}
	}
	return mapping.CheckLockout(table, mapping.LockoutOptions{
		AdminGroups: admins, Partition: w.spec.IAM.Spec.Partition, Caller: w.caller,
	})
}

// countMappings says how many the spec has.
func (w *workload) countMappings() string {
	m := w.spec.Mappings()
	return fmt.Sprintf("%d roles, %d users, %d accounts", len(m.Roles), len(m.Users), len(m.Accounts))
}
