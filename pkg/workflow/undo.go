package workflow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/provider/local"
)

// undoTimeout bounds the taking back of a failed change.
const undoTimeout = 30 * time.Second

// undoUpgrade remembers how a cluster was before an upgrade, and puts it back.
// What the simulated STS has learnt stays: its identities are mapped to nobody.
type undoUpgrade struct {
	c          *localCluster
	wasRunning bool
	// files are those that an upgrade may write; one that was not there has no
	// mode.
	files []savedFile
	// release is what became of the Helm release, mappings puts the mappings
	// back. Both are set once there is something to be put back.
	release  install.Action
	mappings func(context.Context) error
	// begun is true once something may have been written.
	begun bool
}

type savedFile struct {
	path string
	data []byte
	mode fs.FileMode
}

// save reads the files that the upgrade may write.
func (u *undoUpgrade) save() error {
	for _, path := range append(u.c.outputs.all(), u.c.layout.AuthenticatorConfig()) {
		saved := savedFile{path: path}
		info, err := os.Stat(path)
		if err == nil {
			saved.mode = info.Mode().Perm()
			saved.data, err = os.ReadFile(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remember how the cluster is: %w", err)
		}
		u.files = append(u.files, saved)
	}
	return nil
}

// after is called with the error that the upgrade has ended with, and returns
// what to tell the user. On success it only lets a dry run leave a cluster
// stopped that was.
func (u *undoUpgrade) after(ctx context.Context, err error, dryRun bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout+stopTimeout)
	defer cancel()
	if err != nil && u.begun {
		if undoErr := u.c.m.progress().Step(ctx, "Put back what was changed", func(ctx context.Context) (string, error) {
			return "", u.putBack(ctx)
		}); undoErr != nil {
			return errors.Join(err, fmt.Errorf("%w; run the same command again", undoErr))
		}
		err = fmt.Errorf("%w\nthe cluster is as it was before", err)
	}
	if err != nil || dryRun {
		err = errors.Join(err, u.c.stopAgain(ctx, u.wasRunning))
	}
	return err
}

// putBack goes on after an error, so that as much as possible is as it was.
func (u *undoUpgrade) putBack(ctx context.Context) error {
	var problems []error
	if u.mappings != nil {
		problems = append(problems, u.mappings(ctx))
	}
	if u.release == install.Upgraded {
		_, err := u.c.installer.Rollback(ctx)
		problems = append(problems, err)
	}
	for _, f := range u.files {
		var err error
		if f.mode == 0 {
			err = os.Remove(f.path)
		} else {
			_, err = atomicfile.Write(f.path, f.data, f.mode)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
		if f.path == u.c.layout.AuthenticatorConfig() {
			u.c.config = f.data
		}
	}
	if running, err := local.Running(u.c.layout); err != nil || running {
		_, refreshErr := u.c.refreshAuthenticator(ctx)
		problems = append(problems, err, refreshErr)
	}
	return errors.Join(problems...)
}
