package workflow

import (
	"context"
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
func (c *workload) planMappings(ctx context.Context) (*mappingPlan, error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	if render.InCRD(c.spec) {
		plan, err := c.installer.PlanIdentityMappings(ctx, c.rendered.Mappings)
		if err != nil {
			return nil, err
		}
		return identityPlan(plan), nil
	}
	plan, err := c.installer.PlanAWSAuth(ctx, render.Mappings(c.spec))
	if err != nil {
		return nil, err
	}
	return awsAuthPlan(plan), nil
}

// applyMappings carries the change out, if approve lets it. The function it
// returns puts back what was there before; it is never nil.
func (c *workload) applyMappings(ctx context.Context, approve func(*mappingPlan) error) (plan *mappingPlan, undo func(context.Context) error, err error) {
	undo = func(context.Context) error { return nil }
	if err := c.connect(); err != nil {
		return nil, undo, err
	}
	if render.InCRD(c.spec) {
		plan, err := c.installer.EnsureIdentityMappings(ctx, c.rendered.Mappings, func(p *install.IdentityPlan) error {
			return approve(identityPlan(p))
		})
		if plan == nil {
			return nil, undo, err
		}
		return identityPlan(plan), func(ctx context.Context) error { return c.installer.UndoIdentityMappings(ctx, plan) }, err
	}
	before, err := c.installer.SnapshotAWSAuth(ctx)
	if err != nil {
		return nil, undo, err
	}
	p, _, err := c.installer.ApplyAWSAuth(ctx, render.Mappings(c.spec), func(p *mapping.Plan) error {
		return approve(awsAuthPlan(p))
	})
	if err != nil {
		return nil, undo, err
	}
	after, err := c.installer.SnapshotAWSAuth(ctx)
	if err != nil {
		after = &install.AWSAuthSnapshot{} // then entry by entry
	}
	return awsAuthPlan(p), func(ctx context.Context) error { return c.installer.RestoreAWSAuth(ctx, before, after) }, nil
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
