package workflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/render"
)

// managedPlan is what an upgrade of a cluster that Cluster API keeps changes.
type managedPlan struct {
	// objects are changes of Cluster API's objects, server those of what is
	// installed in the cluster.
	objects, server []string
	// switchedOn says that the API servers ask the authenticator already.
	switchedOn bool
	// adopts says that mappings are there already, and become capiam's to keep.
	adopts   bool
	mappings *mappingPlan
}

// lines are all changes, as they are shown.
func (p *managedPlan) lines() []string { return slices.Concat(p.objects, p.server, p.mappings.lines) }

func (p *managedPlan) empty() bool { return len(p.lines()) == 0 }

// upgradeManaged switches IAM authentication on for a cluster that exists,
// changes it, or, with a spec that names no AWSIamConfig, switches it off.
//
// What logins need is brought up before the API servers are told to ask for it,
// so that they work all through a roll-out.
func (m *Manager) upgradeManaged(ctx context.Context, c *managedCluster, o UpgradeOptions) (result *UpgradeResult, err error) {
	step := m.progress().Step
	if err := step(ctx, "Check the management cluster", func(ctx context.Context) (string, error) {
		if err := c.preflight(ctx, false); err != nil {
			return "", err
		}
		if c.state == nil {
			return "", fmt.Errorf("Cluster %s: %w on the management cluster; create it first: capiam create cluster -f FILE", c.key, clusterapi.ErrNotFound)
		}
		if initialized, waiting := clusterapi.ControlPlaneInitialized(c.state); !initialized {
			return "", fmt.Errorf("Cluster %s is still waiting for %s; carry on with: capiam create cluster -f FILE", c.key, waiting)
		}
		return fmt.Sprintf("%s, Cluster %s", c.mgmt.Context, c.key), c.reachWorkload(ctx)
	}); err != nil {
		return nil, err
	}
	if c.spec.IAM == nil {
		return m.switchOff(ctx, c, o)
	}
	result = &UpgradeResult{Cluster: c.spec.Name, DryRun: o.DryRun}
	var plan *managedPlan
	if err := step(ctx, "Compare the spec with the cluster", func(ctx context.Context) (_ string, err error) {
		plan, err = c.plan(ctx)
		return "", err
	}); err != nil {
		return nil, err
	}
	result.Changes, result.Authenticator = plan.mappings.lines, slices.Concat(plan.objects, plan.server)
	if o.Show != nil {
		o.Show(plan.lines(), plan.mappings.foreign)
	}
	// Bindings may change who is an administrator; nothing else of the release.
	plan.mappings.settings = len(plan.server) > 0 && len(c.spec.GroupBindings()) > 0
	if err := c.guard(plan.mappings, o); err != nil || o.DryRun {
		return result, err
	}
	result.Changed = !plan.empty()
	if err := c.applyUpgrade(ctx, plan, o, result); err != nil {
		return nil, err
	}
	return result, nil
}

// plan works out what is to be changed, and writes nothing.
func (c *managedCluster) plan(ctx context.Context) (*managedPlan, error) {
	p := &managedPlan{}
	if err := c.checkBackends(ctx); err != nil {
		return nil, err
	}
	if err := c.ensureKeys(ctx, true); err != nil {
		return nil, err
	}
	if err := c.render(ctx); err != nil {
		return nil, err
	}
	webhook, setup, err := c.setup(ctx)
	if err != nil {
		return nil, err
	}
	rolls := false
	switch {
	case setup.Suffices():
		p.switchedOn = true
	case setup.Enablement == clusterapi.EnabledOtherwise:
		p.objects = append(p.objects, "~ the API servers trust the authenticator's CA as it is now")
		rolls = true
	default:
		p.objects = append(p.objects, "+ the API servers ask the authenticator for AWS IAM logins")
		rolls = true
	}
	if c.manifests != nil {
		if err := c.enableManifests(ctx, c.wiring(webhook, setup)); err != nil {
			return nil, err
		}
		objects, err := c.objects()
		if err != nil {
			return nil, err
		}
		lines, objectsRoll, err := c.mgmt.PlanAll(ctx, objects)
		if err != nil {
			return nil, err
		}
		p.objects = append(p.objects, lines...)
		rolls = rolls || objectsRoll
	}
	if len(p.objects) > 0 && rolls {
		p.objects = append(p.objects, "! "+clusterapi.WillRoll(c.state).String())
	}
	if p.server, err = c.planServer(ctx); err != nil {
		return nil, err
	}
	if len(p.objects) == 0 && len(p.server) > 0 {
		p.server = append(p.server, "  no machine is replaced")
	}
	if p.mappings, err = c.planMappings(ctx); err != nil {
		return nil, err
	}
	mapped, err := c.installer.Mapped(ctx, render.InCRD(c.spec))
	if err != nil {
		return nil, err
	}
	if p.adopts = p.mappings.empty && !mapped; p.adopts {
		p.server = append(p.server, "~ the mappings that are there already become capiam's to keep")
	}
	c.findCaller(ctx, p.mappings)
	return p, nil
}

// planServer says what installing would change, and writes nothing.
func (c *managedCluster) planServer(ctx context.Context) ([]string, error) {
	release, err := c.release()
	if err != nil {
		return nil, err
	}
	var lines []string
	shown := map[string]any{"cert": string(c.live.Leaf.CertPEM), "key": string(c.live.Leaf.KeyPEM)}
	if shown["cert"] != "" && !reflect.DeepEqual(release.Values["tls"], shown) {
		lines = append(lines, "~ the authenticator's certificate is renewed, which restarts nothing")
		// Compared with the old certificate, what differs is something else.
		release.Values = maps.Clone(release.Values)
		release.Values["tls"] = shown
	}
	current, err := c.installer.ReleaseIsCurrent(ctx, release)
	switch {
	case err != nil || current:
	case c.live.ClusterID == "":
		lines = append(lines, "+ the authenticator, as Helm release kube-system/aws-iam-authenticator")
	default:
		lines = append(lines, "~ the authenticator's Helm release")
	}
	return lines, err
}

// applyUpgrade carries a plan out. What is put back when it fails is the release
// as long as nothing else has changed, and then the mappings if a login shows that
// they are not what was meant. That some node is not well takes no change back:
// who was to be shut out stays so.
func (c *managedCluster) applyUpgrade(ctx context.Context, plan *managedPlan, o UpgradeOptions, result *UpgradeResult) (err error) {
	step := c.m.progress().Step
	var undo func(context.Context) error
	defer func() {
		if err == nil || undo == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if undoErr := step(ctx, "Put back what was changed", func(ctx context.Context) (string, error) {
			return "", undo(ctx)
		}); undoErr != nil {
			err = errors.Join(err, fmt.Errorf("%w; run the same command again", undoErr))
			return
		}
		err = fmt.Errorf("%w\nwho may log in is as it was before", err)
	}()
	if err := step(ctx, "Bring the authenticator up to date", func(ctx context.Context) (string, error) {
		if err := c.ensureKeys(ctx, false); err != nil {
			return "", err
		}
		if err := c.render(ctx); err != nil {
			return "", err
		}
		release, err := c.installRelease(ctx)
		if err == nil && release.Action == install.Upgraded && plan.switchedOn {
			undo = func(ctx context.Context) error {
				_, err := c.installer.Rollback(ctx)
				return err
			}
		}
		return releaseDetail(release), err
	}); err != nil {
		return err
	}
	if len(plan.server) > 0 && !o.NoWait {
		if err := step(ctx, "Wait for the authenticator", c.waitAuthenticator); err != nil {
			return err
		}
	}
	// From here on the release is not put back, and machines that join may go by
	// it.
	if err := c.writeStaticPod(ctx); err != nil {
		return err
	}
	undo = nil
	after := plan.mappings.after
	if !plan.mappings.empty || plan.adopts {
		if err := step(ctx, "Change who may log in", func(ctx context.Context) (string, error) {
			// Once the write has begun it must not be cut off half way.
			applyCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			done, back, err := c.applyMappings(applyCtx, func(p *mappingPlan) error { return c.guard(p, o) })
			undo = back
			if done != nil {
				after = done.after
			}
			return fmt.Sprintf("%d changes", len(result.Changes)), err
		}); err != nil {
			return err
		}
	}
	back := undo
	undo = nil
	if len(plan.objects) > 0 {
		if err := step(ctx, "Have the API servers ask the authenticator", func(ctx context.Context) (string, error) {
			return c.enable(ctx, nil)
		}); err != nil {
			return err
		}
		// From here on going back would replace the machines once more. Run
		// again, the command carries on.
		back = nil
	}
	created := &CreateResult{}
	waits := len(plan.objects) > 0 && !o.NoWait
	if err := c.finish(ctx, created, &after, waits, !o.NoWait); err != nil {
		if errors.Is(err, errWrongLogin) {
			undo = back
		}
		return err
	}
	result.Logins = created.Logins
	return nil
}

// switchOff takes IAM authentication away from a cluster that goes on without.
func (m *Manager) switchOff(ctx context.Context, c *managedCluster, o UpgradeOptions) (*UpgradeResult, error) {
	result := &UpgradeResult{Cluster: c.spec.Name, DryRun: o.DryRun}
	step := m.progress().Step
	on, rolls := false, false
	if err := step(ctx, "Compare the spec with the cluster", func(ctx context.Context) (_ string, err error) {
		if rolls, err = c.mgmt.WouldSwitchOff(ctx, c.state); err != nil {
			return "", err
		}
		_, err = c.mgmt.FindKeys(ctx, c.key)
		on = rolls || err == nil
		if errors.Is(err, clusterapi.ErrNotFound) {
			err = nil
		}
		return "", err
	}); err != nil {
		return nil, err
	}
	if !on {
		return result, nil
	}
	result.Authenticator = []string{"- AWS IAM authentication is switched off: nobody can log in by AWS IAM any more"}
	if rolls {
		result.Authenticator = append(result.Authenticator, "! "+clusterapi.WillRoll(c.state).String())
	}
	if o.Show != nil {
		o.Show(result.Authenticator, nil)
	}
	if o.DryRun {
		return result, nil
	}
	if !o.AllowLockout {
		return nil, errors.New("the spec names no AWSIamConfig in spec.identityProviderRefs, which switches AWS IAM authentication off; nothing was changed (--allow-lockout does it)")
	}
	// The spec's objects are not applied: what else they may change is another
	// matter.
	if err := step(ctx, "Have the API servers ask nobody", func(ctx context.Context) (string, error) {
		_, err := c.mgmt.SwitchOff(ctx, c.state)
		return "", err
	}); err != nil {
		return nil, err
	}
	// The authenticator stays until no API server asks it any more.
	if err := step(ctx, "Wait for every control-plane machine", func(ctx context.Context) (string, error) {
		return "", c.await(ctx, clusterapi.ControlPlaneSettled)
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Remove the authenticator", func(ctx context.Context) (string, error) {
		if err := c.installer.WaitAPI(ctx); err != nil {
			return "", err
		}
		removed, err := c.installer.Remove(ctx, c.spec.Name)
		if err != nil {
			return "", err
		}
		if err := c.mgmt.DeleteSecrets(ctx, c.key); err != nil {
			return "", err
		}
		return strings.Join(removed, ", "), removeFiles(c.outputs.Dir, []string{c.outputs.User()})
	}); err != nil {
		return nil, err
	}
	result.Changed = true
	return result, nil
}
