package workflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/capiam/capiam/pkg/provider/local"
)

// Delete stops a local cluster and removes it, with the files it gave to its
// users. With force it also removes one whose record cannot be read.
func (m *Manager) Delete(ctx context.Context, name string, force bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	layout := m.Store.Layout(name)
	record, err := local.ReadRecord(layout)
	if notFound(err) {
		return fmt.Errorf("%w (capiam get clusters lists those there are)", err)
	}
	if err != nil && !force {
		return err
	}
	unlock, err := local.LockOperation(layout)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.progress().Step(ctx, "Stop the control plane", func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		return "", local.Stop(ctx, layout)
	}); err != nil {
		return err
	}
	return m.progress().Step(ctx, "Remove the cluster's files", func(context.Context) (string, error) {
		var outputErr error
		if record != nil {
			outputErr = outputsOf(record).remove()
		}
		return "", errors.Join(outputErr, local.Remove(layout))
	})
}
