// Package environment is where the end-to-end tests run: a lab for machines, and
// inside its network a management cluster with Cluster API's own controllers,
// whose Docker provider makes those machines, and a simulated STS that the
// machines know as AWS's.
//
// A program calls Main first: it makes the lab, runs the program again inside,
// and takes the lab away. Inside, Start brings up the rest.
package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/capiam/capiam/test/e2e/images"
	"github.com/capiam/capiam/test/e2e/machines"
)

// insideEnv is set for the copy of a program that runs in the lab's network.
const insideEnv = "CAPIAM_E2E_INSIDE"

// Options say where an environment is.
type Options struct {
	// Dir is the lab's directory; machines.DefaultDir if empty.
	Dir string
	// Bin is the directory with capiam, the managers and, below ProgramsDir, the
	// programs of machines.
	Bin string
}

// ProgramsDir is the directory below Options.Bin with the machines' programs.
const ProgramsDir = "e2e"

func (o *Options) complete() error {
	if o.Dir == "" {
		o.Dir = machines.DefaultDir
	}
	if o.Bin == "" {
		return errors.New("want the directory of the programs")
	}
	bin, err := filepath.Abs(o.Bin)
	o.Bin = bin
	return err
}

func (o Options) programs() string { return filepath.Join(o.Bin, ProgramsDir) }

// Main runs a function inside a lab that is there for it alone, and returns the
// exit status: the function's, or 1 if there can be no lab, which is said on w.
// To get into the lab's network it runs this program again, so everything before
// the call happens twice.
func Main(o Options, w io.Writer, run func() int) int {
	if Inside() {
		return run()
	}
	code, err := outside(o)
	if err != nil {
		fmt.Fprintln(w, "end-to-end environment:", err)
		return max(code, 1)
	}
	return code
}

// Inside tells whether this process runs in the lab's network.
func Inside() bool { return os.Getenv(insideEnv) != "" }

func outside(o Options) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	lab, err := o.up(ctx)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, lab.Down(context.Background())) }()
	return again(ctx, lab)
}

func (o Options) up(ctx context.Context) (*machines.Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := machines.Check(); err != nil {
		return nil, err
	}
	archive, pause, err := images.Kubernetes(ctx, o.programs())
	if err != nil {
		return nil, fmt.Errorf("images of Kubernetes: %w (make e2e-build)", err)
	}
	lab, err := machines.Up(ctx, o.Dir, machines.Options{Programs: o.programs(), PauseImage: pause})
	if err != nil {
		return nil, err
	}
	err = lab.Import(ctx, archive)
	if err == nil {
		err = lab.Prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, lab.Down(context.WithoutCancel(ctx)))
	}
	return lab, nil
}

// again runs this program inside the lab.
func again(ctx context.Context, lab *machines.Lab) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	// The kernel kills the copy when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := lab.Command(ctx, self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
