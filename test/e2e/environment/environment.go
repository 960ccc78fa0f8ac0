package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/capiam/capiam/test/clusterapi/management"
	"github.com/capiam/capiam/test/e2e/machines"
)

// Environment is a running one.
type Environment struct {
	// Lab has the machines.
	Lab *machines.Lab
	// Management is the management cluster.
	Management *management.Management
	// STS is simulated.
	STS *STS
	// Bin is the directory with capiam.
	Bin string
}

// Start brings up the management cluster and the simulated STS. It is called
// inside a lab, see Main. After an error nothing is left running but the lab.
func Start(ctx context.Context, o Options) (_ *Environment, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if !Inside() {
		return nil, errors.New("this process is not in a lab's network")
	}
	lab, err := machines.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &Environment{Lab: lab, Bin: o.Bin}
	defer func() {
		if err != nil {
			e.Stop()
		}
	}()
	if e.STS, err = startSTS(lab); err != nil {
		return nil, fmt.Errorf("simulated STS: %w", err)
	}
	e.Management, err = management.Start(ctx, management.Options{
		Dir: ManagementDir(o.Dir), Bin: o.Bin,
		Infrastructure: management.Docker(o.Bin, filepath.Join(o.programs(), "docker-provider"), "--lab="+lab.Dir()),
	})
	return e, err
}

// ManagementDir is where the management cluster of a lab keeps its files.
func ManagementDir(lab string) string { return filepath.Join(lab, "x-management") }

// Stop ends what Start started; machines go on until the lab goes.
func (e *Environment) Stop() {
	if e.Management != nil {
		e.Management.Stop()
	}
	if e.STS != nil {
		e.STS.stop()
	}
}

// Env is a clean environment for programs that run in the lab: capiam and
// kubectl are found, and AWS is the simulated one.
func (e *Environment) Env() []string {
	return append([]string{
		"PATH=" + e.Bin + string(os.PathListSeparator) + "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME=" + filepath.Join(e.Lab.Dir(), "x-home"), "LANG=C.UTF-8",
	}, e.STS.env()...)
}
