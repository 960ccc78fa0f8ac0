package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/progress"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/spec"
	"github.com/capiam/capiam/pkg/workflow"
)

// clusterFlags are those of the commands that take a spec.
type clusterFlags struct {
	file            string
	outputDir       string
	bundlesOverride string
	timeout         time.Duration
	management      managementFlags
	wait            bool
}

func (f *clusterFlags) register(cmd *cobra.Command, timeout time.Duration) {
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "filename", "f", "", "cluster spec, - for standard input (required)")
	flags.StringVar(&f.bundlesOverride, "bundles-override", "", "a release manifest to use instead of the one that is built in")
	flags.DurationVar(&f.timeout, "timeout", timeout, "how long the command may take; it exits with 124 then")
	flags.BoolVar(&f.wait, "wait", true, "wait until logins work everywhere; without it, a cluster that Cluster API keeps is written and left to come up")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml")
	f.management.register(cmd)
}

func (f *clusterFlags) registerOutputDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.outputDir, "output-dir", ".", "directory in which CLUSTER/ is made for kubeconfigs")
	_ = cmd.MarkFlagDirname("output-dir")
}

// load reads the spec and says what should be looked at in it.
func (f *clusterFlags) load(s streams) (*spec.Spec, error) {
	loaded, err := spec.Load(f.file, s.in)
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings {
		fmt.Fprintf(s.err, "warning: %s\n", warning)
	}
	return loaded, nil
}

// manager returns what the command works with.
func (f *clusterFlags) manager(s streams) (*workflow.Manager, error) {
	m, err := newManager(s, f.outputDir)
	if err != nil {
		return nil, err
	}
	m.Management, m.WorkloadKubeconfig = f.management.access(), f.management.workload
	m.Release, err = release.Load(f.bundlesOverride)
	return m, err
}

// context bounds the command by --timeout.
func (f *clusterFlags) context(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	if f.timeout <= 0 {
		return context.WithCancel(cmd.Context())
	}
	return context.WithTimeoutCause(cmd.Context(), f.timeout, &exitError{
		code: exitTimeout,
		err:  fmt.Errorf("not done within %s (--timeout)", f.timeout),
	})
}

// failed gives an error of a command that ran out of time the exit status that
// says so.
func failed(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{code: exitTimeout, err: err}
	}
	return err
}

// newManager returns what the commands work with.
func newManager(s streams, outputDir string) (*workflow.Manager, error) {
	store, err := local.NewStore()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &workflow.Manager{
		Store:     store,
		Programs:  local.FindPrograms,
		Progress:  progress.New(s.err),
		OutputDir: outputDir,
		Program:   program,
	}, nil
}

// relative shows a path as it would be typed here, if that is shorter.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	short, err := filepath.Rel(wd, path)
	if err != nil || len(short) >= len(path) {
		return path
	}
	return short
}

// calledAs is how the user called this program.
func calledAs() string {
	if len(os.Args) == 0 {
		return "capiam"
	}
	return os.Args[0]
}

// completeClusters completes the name of a cluster, once.
func completeClusters(s streams) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		m, err := newManager(s, ".")
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return m.Names(), cobra.ShellCompDirectiveNoFileComp
	}
}
