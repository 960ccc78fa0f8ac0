package workflow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/render"
)

// createManaged brings a cluster up through Cluster API, or carries on with one.
// A cluster that somebody else has made, and that runs without IAM, is left to
// Upgrade: its machines would be replaced.
func (m *Manager) createManaged(ctx context.Context, c *managedCluster, o CreateOptions) (_ *CreateResult, err error) {
	if err := c.requireIAM(); err != nil {
		return nil, err
	}
	step := m.progress().Step
	begun := false
	defer func() {
		if err != nil && begun {
			m.progress().Note("what was made is kept: run the same command again to carry on, and look with `capiam describe cluster %s -n %s`", c.key.Name, c.key.Namespace)
		}
	}()
	if err := step(ctx, "Check the management cluster", func(ctx context.Context) (string, error) {
		if err := c.outputs.checkWritable(); err != nil {
			return "", err
		}
		if err := c.preflight(ctx, true); err != nil {
			return "", err
		}
		if c.state == nil && c.manifests == nil {
			return "", fmt.Errorf("Cluster %s: %w on the management cluster: put its Cluster API objects into the spec, or into a file that spec.files of the %s names, or apply them first", c.key, clusterapi.ErrNotFound, c.spec.Cluster.Spec.DatacenterRef.Kind)
		}
		return c.mgmt.Context, c.checkSetup(ctx)
	}); err != nil {
		return nil, err
	}
	resumed := c.state != nil
	result := &CreateResult{
		Cluster: c.key.Name, Namespace: c.key.Namespace, Resumed: resumed,
		UserKubeconfig: c.outputs.User(), AdminKubeconfig: c.outputs.Admin(),
	}
	if err := step(ctx, "Keep the cluster's ID and the authenticator's CA", func(ctx context.Context) (string, error) {
		if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); initialized {
			if err := c.reachWorkload(ctx); err != nil {
				return "", err
			}
			if err := c.checkBackends(ctx); err != nil {
				return "", err
			}
		}
		begun = true
		if err := c.ensureKeys(ctx, false); err != nil {
			return "", err
		}
		return "cluster ID " + c.keys.ClusterID, nil
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Have the API servers ask the authenticator", func(ctx context.Context) (string, error) {
		if err := c.render(ctx); err != nil {
			return "", err
		}
		if err := c.writeStaticPod(ctx); err != nil {
			return "", err
		}
		return c.enable(ctx, c.mayReplace)
	}); err != nil {
		return nil, err
	}
	if o.NoWait {
		if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); !initialized {
			m.progress().Note("the control plane is not up yet; run the same command again to go on")
			result.Unfinished = true
			return result, nil
		}
	}
	if err := step(ctx, "Wait for the control plane", func(ctx context.Context) (string, error) {
		if err := c.await(ctx, clusterapi.ControlPlaneInitialized); err != nil {
			return "", err
		}
		if err := c.reachWorkload(ctx); err != nil {
			return "", err
		}
		// Of use at once, to look at what goes wrong from here on.
		return "", c.writeAdmin()
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Install the authenticator's chart", func(ctx context.Context) (string, error) {
		if err := c.checkBackends(ctx); err != nil {
			return "", err
		}
		// The cluster may have had an ID before capiam knew it.
		if err := c.ensureKeys(ctx, false); err != nil {
			return "", err
		}
		if err := c.render(ctx); err != nil {
			return "", err
		}
		if err := c.writeStaticPod(ctx); err != nil {
			return "", err
		}
		release, err := c.installRelease(ctx)
		return releaseDetail(release), err
	}); err != nil {
		return nil, err
	}
	var plan *mappingPlan
	pending := false
	if err := step(ctx, "Map identities", func(ctx context.Context) (detail string, err error) {
		mapped, err := c.installer.Mapped(ctx, render.InCRD(c.spec))
		if err != nil {
			return "", err
		}
		if mapped {
			// Changing who may log in is Upgrade's.
			if plan, err = c.planMappings(ctx); err != nil || !plan.empty {
				pending = true
				return "left as they are", err
			}
		}
		plan, _, err = c.applyMappings(ctx, func(*mappingPlan) error { return nil })
		return c.countMappings(), err
	}); err != nil {
		return nil, err
	}
	if err := c.checkAdmins(plan.after); err != nil {
		m.progress().Warn("%v", err)
	}
	table := &plan.after
	if pending {
		table, result.Pending = nil, plan.lines
		m.progress().Warn("the spec and the cluster differ in who may log in; `capiam upgrade cluster` shows and makes the changes")
	}
	return result, c.finish(ctx, result, table, !o.NoWait, !o.NoWait)
}

// checkSetup refuses what cannot be set up to ask the authenticator, before
// anything is written.
func (c *managedCluster) checkSetup(ctx context.Context) error {
	if err := c.ensureKeys(ctx, true); err != nil {
		return err
	}
	if err := c.render(ctx); err != nil {
		return err
	}
	webhook, setup, err := c.setup(ctx)
	if c.manifests != nil {
		// What is wrong with the live objects, these may mend.
		if err := c.enableManifests(ctx, c.wiring(webhook, setup)); err != nil {
			return err
		}
		return c.checkReplacing(ctx)
	}
	if err != nil || setup.Suffices() {
		return err
	}
	return c.mayReplace()
}

// checkReplacing refuses the spec's objects if they would replace the machines of
// a control plane that runs.
func (c *managedCluster) checkReplacing(ctx context.Context) error {
	if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); !initialized {
		return nil
	}
	objects, err := c.objects()
	if err != nil {
		return err
	}
	lines, rolls, err := c.mgmt.PlanAll(ctx, objects)
	if err != nil || !rolls {
		return err
	}
	return fmt.Errorf("Cluster %s runs, and the spec's objects would replace its machines (%s): `capiam upgrade cluster` shows and makes the change", c.key, strings.Join(lines, ", "))
}

// mayReplace refuses to replace the machines of a cluster that runs, and that
// somebody else has made: Upgrade says so before it does.
func (c *managedCluster) mayReplace() error {
	if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); initialized && !c.managed() {
		return fmt.Errorf("Cluster %s runs without AWS IAM authentication: switch it on with `capiam upgrade cluster`, which says before what happens to the machines (%s)", c.key, clusterapi.WillRoll(c.state))
	}
	return nil
}

// finish waits until logins work everywhere, or only asks one API server, hands the
// kubeconfigs out, and logs in if there is somebody to log in as, and a table that
// says how it should come out.
func (c *managedCluster) finish(ctx context.Context, result *CreateResult, table *mapping.Mappings, waits, asks bool) error {
	step := c.m.progress().Step
	result.Server = c.server()
	if waits {
		if err := step(ctx, "Wait for every control-plane machine", func(ctx context.Context) (string, error) {
			return "", c.await(ctx, clusterapi.ControlPlaneSettled)
		}); err != nil {
			return err
		}
		if err := step(ctx, "Wait for the authenticator", c.waitAuthenticator); err != nil {
			return err
		}
	}
	if asks {
		if err := step(ctx, "Ask the authenticator through the API server", func(ctx context.Context) (string, error) {
			return "", c.installer.WaitWebhook(ctx)
		}); err != nil {
			return err
		}
	}
	if err := step(ctx, "Write kubeconfigs", c.writeKubeconfigs); err != nil {
		return err
	}
	if !asks || table == nil {
		return nil
	}
	return step(ctx, "Log in with the AWS credentials at hand", func(ctx context.Context) (detail string, err error) {
		result.Logins, detail, err = c.proveOwn(ctx, *table)
		return detail, err
	})
}

// enable has the API servers ask the authenticator: in the spec's objects, which
// are applied, or else in those of the management cluster. Before it changes a
// control plane that is there, it asks allow, if that is not nil. The static pod has
// to be written: machines wait for a Secret that their files name.
func (c *managedCluster) enable(ctx context.Context, allow func() error) (string, error) {
	webhook, setup, err := c.setup(ctx)
	if err != nil && c.manifests == nil {
		return "", err
	}
	wiring := c.wiring(webhook, setup)
	if c.manifests != nil {
		if err := c.enableManifests(ctx, wiring); err != nil {
			return "", err
		}
		objects, err := c.objects()
		if err != nil {
			return "", err
		}
		if err := c.mgmt.ApplyAll(ctx, objects); err != nil {
			return "", err
		}
		c.state, err = c.mgmt.State(ctx, c.key)
		return fmt.Sprintf("%d objects", len(objects)), err
	}
	changed, err := c.mgmt.SwitchOn(ctx, c.state, wiring, allow)
	if err != nil {
		return "", err
	}
	if !changed {
		return "as they do already", nil
	}
	c.state, err = c.mgmt.State(ctx, c.key)
	return "", err
}

// enableManifests patches the spec's objects.
func (c *managedCluster) enableManifests(ctx context.Context, w clusterapi.Wiring) error {
	if ref, missing := c.manifests.ClassRef(); missing {
		class, err := c.mgmt.Class(ctx, ref)
		if err != nil {
			return err
		}
		c.manifests.UseClass(class)
	}
	_, err := c.manifests.Enable(w)
	return err
}

// objects are the spec's, with a mark on the Cluster that it is capiam's if it is
// or becomes so.
func (c *managedCluster) objects() ([]*unstructured.Unstructured, error) {
	objects := c.manifests.Objects()
	if err := c.mgmt.Complete(objects, c.key.Namespace); err != nil {
		return nil, err
	}
	if c.state != nil && !c.managed() {
		return objects, nil
	}
	for _, u := range objects {
		if clusterapi.IsCluster(u) && u.GetName() == c.key.Name {
			annotations := u.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[clusterapi.ManagedAnnotation] = "true"
			u.SetAnnotations(annotations)
		}
	}
	return objects, nil
}

// managed tells whether capiam has made the Cluster.
func (c *managedCluster) managed() bool { return c.state != nil && c.state.Managed() }

func (c *managedCluster) requireIAM() error {
	if c.spec.IAM == nil {
		return errors.New("the spec names no AWSIamConfig in spec.identityProviderRefs, so there is nothing to switch on; `capiam upgrade cluster` switches AWS IAM authentication off with such a spec")
	}
	return nil
}
