package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/spec"
)

// UpgradeOptions change what Upgrade does.
type UpgradeOptions struct {
	// DryRun stops once the plan is shown.
	DryRun bool
	// AllowLockout carries a change out that leaves nobody to administer the
	// cluster by AWS IAM.
	AllowLockout bool
	// NoWait returns once everything is written, without waiting for machines
	// and pods; only for clusters that Cluster API keeps.
	NoWait bool
	// Show is given the plan's lines before anything is changed.
	Show func(changes, foreign []string)
}

// UpgradeResult is what Upgrade did.
type UpgradeResult struct {
	Cluster string `json:"cluster"`
	// Changed is false if there was nothing to do, and nothing was written.
	Changed bool `json:"changed"`
	DryRun  bool `json:"dryRun,omitempty"`
	// Changes are those of who may log in, Authenticator those of the
	// authenticator itself.
	Changes       []string `json:"changes"`
	Authenticator []string `json:"authenticator,omitempty"`
	Logins        []Login  `json:"logins,omitempty"`
}

// Upgrade makes a cluster's mappings and authenticator what the spec says: it
// plans, shows the plan, guards it, carries it out, and proves it by logging in.
// If the proof fails, or the command is interrupted, all of it is put back.
func (m *Manager) Upgrade(ctx context.Context, s *spec.Spec, o UpgradeOptions) (_ *UpgradeResult, err error) {
	if s.Local == nil {
		c, err := m.managed(ctx, s)
		if err != nil {
			return nil, err
		}
		return m.upgradeManaged(ctx, c, o)
	}
	c := m.localCluster(s.Name, s)
	record, err := local.ReadRecord(c.layout)
	if notFound(err) {
		return nil, fmt.Errorf("%w; create it first: capiam create cluster -f FILE", err)
	}
	if err != nil {
		return nil, err
	}
	unlock, err := local.LockOperation(c.layout)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c.record, c.outputs = record, outputsOf(record)
	if !c.complete() {
		return nil, fmt.Errorf("cluster %q was never completed; carry on with: capiam create cluster -f FILE", s.Name)
	}
	if err := c.checkImmutable(); err != nil {
		return nil, err
	}
	result := &UpgradeResult{Cluster: s.Name, DryRun: o.DryRun}
	step := m.progress().Step
	undo := &undoUpgrade{c: c}
	if undo.wasRunning, err = local.Running(c.layout); err != nil {
		return nil, err
	}
	defer func() { err = undo.after(ctx, err, o.DryRun) }()

	var plan *mappingPlan
	if err := step(ctx, "Compare the spec with the cluster", func(ctx context.Context) (string, error) {
		if err := c.wake(ctx); err != nil {
			return "", err
		}
		if result.Authenticator, err = c.planServer(ctx); err != nil {
			return "", err
		}
		plan, err = c.planMappings(ctx)
		return "", err
	}); err != nil {
		return nil, err
	}
	result.Changes = plan.lines
	if o.Show != nil {
		o.Show(append(slices.Clone(plan.lines), result.Authenticator...), plan.foreign)
	}
	plan.settings = len(result.Authenticator) > 0
	if err := c.guard(plan, o); err != nil {
		return nil, err
	}
	if o.DryRun {
		return result, nil
	}
	if err := undo.save(); err != nil {
		return nil, err
	}
	undo.begun = true
	changed, err := c.applyServer(ctx, undo)
	if err != nil {
		return nil, err
	}
	result.Changed = changed || !plan.empty
	if plan.empty {
		return result, c.writeProfiles()
	}
	if err := step(ctx, "Change who may log in", func(ctx context.Context) (string, error) {
		// Once the write has begun it must not be cut off half way: what it
		// did has to be known to be undone.
		applyCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		plan, undo.mappings, err = c.applyMappings(applyCtx, func(p *mappingPlan) error { return c.guard(p, o) })
		return fmt.Sprintf("%d changes", len(result.Changes)), err
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Log in as who was changed", func(ctx context.Context) (string, error) {
		result.Logins, err = c.proveChange(ctx, plan)
		return fmt.Sprintf("%d logins as they should be", len(result.Logins)), err
	}); err != nil {
		return nil, err
	}
	// Only now: whoever could log in before still can if the change fails.
	if err := c.writeProfiles(); err != nil {
		return nil, err
	}
	record.LastChange = &local.Change{At: m.now(), Command: "upgrade", Lines: limit(result.Changes)}
	return result, local.WriteRecord(c.layout, record)
}

// wake brings the cluster's programs and keys up, as after a reboot.
func (c *localCluster) wake(ctx context.Context) error {
	if _, err := local.EnsureKeys(c.layout, c.record, c.m.now); err != nil {
		return err
	}
	running, err := local.Running(c.layout)
	if err != nil {
		return err
	}
	if !running {
		programs, err := c.m.Programs()
		if err != nil {
			return err
		}
		if err := local.Start(ctx, c.layout, programs); err != nil {
			return err
		}
	}
	if err := local.WaitReady(ctx, c.layout); err != nil {
		return err
	}
	return nil
}

// planServer says what applyServer would change of the authenticator, and writes
// nothing.
func (c *localCluster) planServer(ctx context.Context) ([]string, error) {
	if err := c.previewIdentities(); err != nil {
		return nil, err
	}
	if err := c.render(); err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	release, err := c.release()
	if err != nil {
		return nil, err
	}
	var lines []string
	current, err := c.installer.ReleaseIsCurrent(ctx, release)
	if err == nil && !current {
		lines = append(lines, "~ the authenticator's Helm release")
	}
	outdated, configErr := c.authenticatorOutdated(ctx)
	if configErr == nil && outdated {
		lines = append(lines, "~ the authenticator's configuration, which restarts it")
	}
	return lines, errors.Join(err, configErr)
}

// applyServer brings everything but the mappings to what the spec says, and
// tells whether that changed anything.
func (c *localCluster) applyServer(ctx context.Context, undo *undoUpgrade) (changed bool, err error) {
	err = c.m.progress().Step(ctx, "Bring the authenticator up to date", func(ctx context.Context) (string, error) {
		if err := c.ensureIdentities(ctx); err != nil {
			return "", err
		}
		if err := c.render(); err != nil {
			return "", err
		}
		wrote, err := c.writeKubeconfigs()
		if err != nil {
			return "", err
		}
		release, err := c.installRelease(ctx)
		if err != nil {
			return "", err
		}
		undo.release = release.Action
		if err := c.writeConfig(); err != nil {
			return "", err
		}
		restarted, err := c.refreshAuthenticator(ctx)
		changed = wrote || restarted || release.Action != install.Unchanged
		if err != nil {
			return "", err
		}
		return releaseDetail(release), nil
	})
	return changed, err
}

// proveChange logs in as the identities that were changed and as those that
// were removed, the latter in vain.
func (c *localCluster) proveChange(ctx context.Context, plan *mappingPlan) ([]Login, error) {
	keys := map[string]bool{}
	for _, e := range plan.changed {
		keys[entryKey(e)] = true
	}
	// The identities that were changed, whoever else stands in the spec.
	c.identities = slices.DeleteFunc(slices.Clone(c.identities), func(id spec.Identity) bool {
		if id.Section == spec.SectionMapAccounts {
			return !slices.Contains(plan.addedAccounts, id.ARN.Account)
		}
		return !keys[entryKey(id.Entry)]
	})
	var attempts []attempt
	for _, a := range c.attempts() {
		if a.profile != StrangerProfile {
			attempts = append(attempts, a)
		}
	}
	removed, err := c.removedIdentities(ctx, plan)
	if err != nil {
		return nil, err
	}
	for _, kind := range c.tokenKinds() {
		for _, a := range removed {
			a.kind = kind
			attempts = append(attempts, a)
		}
	}
	return c.prove(ctx, plan.after, attempts)
}

// entryKey identifies an entry by whom it is for.
func entryKey(e mapping.Entry) string {
	if e.SSO != nil {
		return e.SSO.AccountID + "/" + e.SSO.PermissionSetName
	}
	arn, err := iam.ParseARNAnyCase(e.ARN)
	if err != nil {
		return e.ARN
	}
	return arn.Key().String()
}

// removedPrincipals are whom the entries and accounts that go were for, or, where
// that is many, one of them.
func (c *localCluster) removedPrincipals(plan *mappingPlan) []iam.ARN {
	var arns []iam.ARN
	for _, e := range plan.removed {
		if e.SSO != nil {
			// A permission set's role ends in 16 random digits.
			arns = append(arns, iam.ARN{
				Partition: c.record.Partition, Account: e.SSO.AccountID, Kind: iam.KindRole,
				Path: "aws-reserved/sso.amazonaws.com/", Name: "AWSReservedSSO_" + e.SSO.PermissionSetName + "_0123456789abcdef",
			})
			continue
		}
		if arn, err := iam.ParseARNAnyCase(e.ARN); err == nil { // else a damaged entry, and nobody to play
			arns = append(arns, arn.Principal())
		}
	}
	for _, account := range plan.removedAccounts {
		arns = append(arns, iam.ARN{Partition: c.record.Partition, Account: account, Kind: iam.KindRole, Name: "account-" + account})
	}
	return arns
}

// removedIdentities makes the simulated STS play principals that a plan takes
// out, for a login that has to be refused.
func (c *localCluster) removedIdentities(ctx context.Context, plan *mappingPlan) ([]attempt, error) {
	var ids []local.Identity
	var attempts []attempt
	for i, arn := range c.removedPrincipals(plan) {
		if len(attempts) == mostLogins {
			break
		}
		session := ""
		if arn.Kind == iam.KindRole {
			session = "capiam"
		}
		profile := "removed-" + arn.Name
		if slices.ContainsFunc(attempts, func(a attempt) bool { return a.profile == profile }) {
			profile += "-" + strconv.Itoa(i+1)
		}
		ids = append(ids, local.Identity{Profile: profile, ARN: arn.String(), Session: session})
		attempts = append(attempts, attempt{profile: profile, arn: arn, session: session})
	}
	if len(ids) == 0 {
		return nil, nil
	}
	answer, err := local.NewControl(c.layout).EnsureIdentities(ctx, ids)
	if err != nil {
		return nil, err
	}
	c.removed = answer.Credentials
	return attempts, nil
}

// limit keeps a record of a large change readable.
func limit(lines []string) []string {
	const most = 100
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most:most], fmt.Sprintf("and %d more", len(lines)-most))
}
