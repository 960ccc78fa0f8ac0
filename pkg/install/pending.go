package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/capiam/capiam/pkg/render"
)

// staleAfter is how long a pending release is taken for somebody's work. Helm
// writes a handful of objects and waits for nothing, so after this time its
// process is dead.
const staleAfter = 15 * time.Second

// takeUp returns the last revision of the release in a state that Helm goes on
// from, or nil if there is none and the chart has to be installed. A revision
// that a killed process left pending is waited for, then declared failed.
func (i *Installer) takeUp(ctx context.Context, cfg *action.Configuration) (*release.Release, error) {
	for {
		last, err := cfg.Releases.Last(render.ReleaseName)
		if errors.Is(err, driver.ErrReleaseNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if unfinished(last) {
			age := i.now().Sub(last.Info.LastDeployed.Time)
			if age >= 0 && age < i.staleAfter {
				if err := i.sleep(ctx); err != nil {
					return nil, fmt.Errorf("revision %d is being written by somebody else: %w", last.Version, err)
				}
				continue
			}
			i.log.Info("taking up a release that was left unfinished", "revision", last.Version, "status", last.Info.Status.String())
		}
		return i.settle(cfg, last)
	}
}

func unfinished(r *release.Release) bool {
	return r.Info.Status.IsPending() || r.Info.Status == release.StatusUninstalling
}

// settle brings the last revision into a state that Helm goes on from.
func (i *Installer) settle(cfg *action.Configuration, last *release.Release) (*release.Release, error) {
	switch last.Info.Status {
	case release.StatusUninstalling, release.StatusUninstalled:
		// Uninstalled revisions are there only if somebody kept the history.
		if err := i.uninstall(cfg); err != nil {
			return nil, fmt.Errorf("finish uninstalling: %w", err)
		}
		return nil, nil
	case release.StatusPendingUpgrade, release.StatusPendingRollback:
		last.SetStatus(release.StatusFailed, "left unfinished")
		if err := cfg.Releases.Update(last); err != nil {
			return nil, fmt.Errorf("mark revision %d as failed: %w", last.Version, err)
		}
	}
	if _, err := cfg.Releases.Deployed(render.ReleaseName); err == nil {
		return last, nil
	} else if !errors.Is(err, driver.ErrNoDeployedReleases) {
		return nil, fmt.Errorf("read: %w", err)
	}
	// No revision was ever deployed, and Helm upgrades only what was. What the
	// attempts made carries the release's name, so a new installation takes it
	// over without removing it first.
	history, err := cfg.Releases.History(render.ReleaseName)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	for _, r := range history {
		if _, err := cfg.Releases.Delete(r.Name, r.Version); err != nil {
			return nil, fmt.Errorf("drop unfinished revision %d: %w", r.Version, err)
		}
	}
	return nil, nil
}

// sleep waits until it is worth looking again.
func (i *Installer) sleep(ctx context.Context) error { return sleep(ctx, i.poll) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
