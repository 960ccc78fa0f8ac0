package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/capiam/capiam/pkg/render"
)

// maxHistory is how many revisions of the release are kept. Each holds a
// certificate's key.
const maxHistory = 3

// ReleaseOptions are what EnsureRelease installs.
type ReleaseOptions struct {
	Chart  *chart.Chart
	Values map[string]any
	// TakeOwnership makes objects of the same names the release's own: those
	// that EKS Anywhere installed, say. Without it they are an error.
	TakeOwnership bool
}

// Action is what EnsureRelease did.
type Action string

// What EnsureRelease can have done.
const (
	Unchanged Action = "unchanged"
	Installed Action = "installed"
	Upgraded  Action = "upgraded"
	// Repaired is an upgrade to the same chart and values, as somebody had
	// changed or deleted objects of the release.
	Repaired Action = "repaired"
)

// ReleaseResult is what EnsureRelease did.
type ReleaseResult struct {
	Action Action
	// Revision is the release's revision now.
	Revision int
	// Drifted names the objects that were not as the release has them.
	Drifted []string
}

// EnsureRelease makes the cluster have the chart, with these values, as the
// Helm release aws-iam-authenticator in kube-system. If it has, and the objects
// are as the chart says, nothing is written. A release that a killed process
// left pending is taken up. If Helm fails, a first installation is removed
// again, and an upgrade is rolled back.
//
// It does not wait for pods; WaitReady does. Once Helm has begun to write, it
// is let finish, even if ctx is cancelled.
func (i *Installer) EnsureRelease(ctx context.Context, o ReleaseOptions) (ReleaseResult, error) {
	result, err := i.ensureRelease(ctx, o)
	if err != nil {
		return result, fmt.Errorf("helm release %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	return result, nil
}

func (i *Installer) ensureRelease(ctx context.Context, o ReleaseOptions) (ReleaseResult, error) {
	cfg, err := i.helm()
	if err != nil {
		return ReleaseResult{}, err
	}
	last, err := i.takeUp(ctx, cfg)
	if err != nil {
		return ReleaseResult{}, err
	}
	if err := ctx.Err(); err != nil {
		return ReleaseResult{}, err
	}
	if last == nil {
		return i.install(cfg, o)
	}
	did := Upgraded
	var drifted []string
	same, err := sameRelease(last, o)
	if err != nil {
		return ReleaseResult{}, err
	}
	if same {
		if drifted, err = i.drift(ctx, last); err != nil {
			return ReleaseResult{}, err
		}
		if len(drifted) == 0 {
			return ReleaseResult{Action: Unchanged, Revision: last.Version}, nil
		}
		did = Repaired
	}
	result, err := i.upgrade(cfg, o, last)
	result.Action, result.Drifted = did, drifted
	return result, err
}

// ReleaseIsCurrent tells whether EnsureRelease would find nothing to do. It
// writes nothing.
func (i *Installer) ReleaseIsCurrent(ctx context.Context, o ReleaseOptions) (bool, error) {
	cfg, err := i.helm()
	if err != nil {
		return false, err
	}
	last, err := cfg.Releases.Last(render.ReleaseName)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	same := false
	if err == nil {
		same, err = sameRelease(last, o)
	}
	var drifted []string
	if err == nil && same {
		drifted, err = i.drift(ctx, last)
	}
	if err != nil {
		return false, fmt.Errorf("helm release %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	return same && len(drifted) == 0, nil
}

// helm is Helm's configuration for one use.
func (i *Installer) helm() (*action.Configuration, error) {
	cfg := &action.Configuration{}
	err := cfg.Init(getter{i, render.Namespace}, render.Namespace, "secret", func(format string, args ...any) {
		i.log.Debug("helm", "message", fmt.Sprintf(format, args...))
	})
	if err != nil {
		return nil, fmt.Errorf("set up helm: %w", err)
	}
	return cfg, nil
}

func (i *Installer) install(cfg *action.Configuration, o ReleaseOptions) (ReleaseResult, error) {
	run := action.NewInstall(cfg)
	run.ReleaseName = render.ReleaseName
	run.Namespace = render.Namespace
	run.TakeOwnership = o.TakeOwnership
	// The API server checks the objects itself.
	run.DisableOpenAPIValidation = true
	run.SkipCRDs = true
	rel, err := run.Run(o.Chart, o.Values)
	if err == nil {
		return ReleaseResult{Action: Installed, Revision: rel.Version}, nil
	}
	err = fmt.Errorf("install: %w", err)
	if _, lastErr := cfg.Releases.Last(render.ReleaseName); errors.Is(lastErr, driver.ErrReleaseNotFound) {
		// Helm found the obstacle before it wrote anything.
		return ReleaseResult{}, err
	}
	if o.TakeOwnership {
		// Removing it would remove what was there before, and let nobody in.
		return ReleaseResult{}, fmt.Errorf("%w; what it had made was kept, and is gone on with when it is run again", err)
	}
	if undoErr := i.uninstall(cfg); undoErr != nil {
		return ReleaseResult{}, fmt.Errorf("%w; what it had made could not be removed: %w", err, undoErr)
	}
	return ReleaseResult{}, fmt.Errorf("%w; what it had made was removed", err)
}

func (i *Installer) upgrade(cfg *action.Configuration, o ReleaseOptions, last *release.Release) (ReleaseResult, error) {
	run := action.NewUpgrade(cfg)
	run.Namespace = render.Namespace
	run.MaxHistory = maxHistory
	run.TakeOwnership = o.TakeOwnership
	run.DisableOpenAPIValidation = true
	run.SkipCRDs = true
	// What the values do not say is the chart's default, not what an earlier
	// release had.
	run.ResetValues = true
	run.CleanupOnFail = true
	rel, err := run.Run(render.ReleaseName, o.Chart, o.Values)
	if err == nil {
		return ReleaseResult{Revision: rel.Version}, nil
	}
	err = fmt.Errorf("upgrade: %w", err)
	if now, lastErr := cfg.Releases.Last(render.ReleaseName); lastErr == nil && now.Version == last.Version {
		return ReleaseResult{Revision: last.Version}, err
	}
	revision, undoErr := i.rollback(cfg)
	if undoErr != nil {
		return ReleaseResult{Revision: revision}, fmt.Errorf("%w; rolling back failed too: %w", err, undoErr)
	}
	return ReleaseResult{Revision: revision}, fmt.Errorf("%w; rolled back to what was there", err)
}

// Rollback puts back the revision before the last one that was deployed: it is
// for an upgrade after which the pods did not become ready. It returns the new
// revision.
func (i *Installer) Rollback(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	cfg, err := i.helm()
	if err == nil {
		var revision int
		if revision, err = i.rollback(cfg); err == nil {
			return revision, nil
		}
	}
	return 0, fmt.Errorf("roll back helm release %s/%s: %w", render.Namespace, render.ReleaseName, err)
}

func (i *Installer) rollback(cfg *action.Configuration) (int, error) {
	history, err := cfg.Releases.History(render.ReleaseName)
	if err != nil {
		return 0, err
	}
	newest, target := 0, 0
	for _, r := range history {
		newest = max(newest, r.Version)
	}
	for _, r := range history {
		good := r.Info.Status == release.StatusDeployed || r.Info.Status == release.StatusSuperseded
		if good && r.Version < newest && r.Version > target {
			target = r.Version
		}
	}
	if target == 0 {
		return newest, errors.New("there is no earlier revision that worked")
	}
	run := action.NewRollback(cfg)
	run.Version = target
	run.CleanupOnFail = true
	run.MaxHistory = maxHistory
	if err := run.Run(render.ReleaseName); err != nil {
		return newest, err
	}
	return newest + 1, nil
}

// Uninstall removes the release and reports whether there was one. Who may log
// in is not part of it and stays.
func (i *Installer) Uninstall(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	cfg, err := i.helm()
	if err != nil {
		return false, err
	}
	_, err = cfg.Releases.Last(render.ReleaseName)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	if err == nil {
		err = i.uninstall(cfg)
	}
	if err != nil {
		return false, fmt.Errorf("uninstall helm release %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	return true, nil
}

func (i *Installer) uninstall(cfg *action.Configuration) error {
	run := action.NewUninstall(cfg)
	run.IgnoreNotFound = true
	_, err := run.Run(render.ReleaseName)
	return err
}

// sameRelease tells whether a release was made of this chart and these values.
// The whole chart is compared, as one that is being worked on changes without
// its version.
func sameRelease(r *release.Release, o ReleaseOptions) (bool, error) {
	if r.Info.Status != release.StatusDeployed || r.Chart == nil {
		return false, nil
	}
	for _, pair := range [][2]any{
		{r.Config, o.Values},
		{r.Chart.Metadata, o.Chart.Metadata},
		{r.Chart.Templates, o.Chart.Templates},
		{r.Chart.Values, o.Chart.Values},
	} {
		// Helm keeps releases as JSON, in which an int is a float and an empty
		// list may be no list.
		a, err := json.Marshal(pair[0])
		if err != nil {
			return false, fmt.Errorf("compare releases: %w", err)
		}
		b, err := json.Marshal(pair[1])
		if err != nil {
			return false, fmt.Errorf("compare releases: %w", err)
		}
		if !bytes.Equal(a, b) {
			return false, nil
		}
	}
	return true, nil
}
