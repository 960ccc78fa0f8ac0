package workflow

import (
	"context"
	"io"
	"log/slog"

	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/manifests"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
)

// workload is the cluster that people log in to, whoever keeps it: what its spec
// is rendered to, and what is installed in it.
type workload struct {
	spec *spec.Spec
	// rendered is set once there is all that rendering needs.
	rendered *render.Output
	// reach returns how to reach its API server as an administrator.
	reach     func() (*rest.Config, error)
	installer *install.Installer
	// takeOver makes objects that somebody else has installed under the same
	// names, EKS Anywhere say, the release's.
	takeOver bool
	// caller is whoever runs the command, if a change takes the entry away by
	// which they can log in; else the zero ARN.
	caller iam.ARN
}

// connect makes the installer.
func (w *workload) connect() error {
	if w.installer != nil {
		return nil
	}
	cfg, err := w.reach()
	if err != nil {
		return err
	}
	w.installer, err = install.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return err
}

// release is the Helm release that was rendered.
func (w *workload) release() (install.ReleaseOptions, error) {
	chart, err := manifests.Chart()
	return install.ReleaseOptions{Chart: chart, Values: w.rendered.Values, TakeOwnership: w.takeOver}, err
}

// installRelease brings CRDs, Bundles and chart to what was rendered.
func (w *workload) installRelease(ctx context.Context) (install.ReleaseResult, error) {
	if err := w.connect(); err != nil {
		return install.ReleaseResult{}, err
	}
	if err := w.installer.EnsureCRDs(ctx, w.rendered.CRDs); err != nil {
		return install.ReleaseResult{}, err
	}
	if w.rendered.Bundles != nil {
		if err := w.installer.Apply(ctx, w.rendered.Bundles); err != nil {
			return install.ReleaseResult{}, err
		}
	}
	release, err := w.release()
	if err != nil {
		return install.ReleaseResult{}, err
	}
	return w.installer.EnsureRelease(ctx, release)
}
