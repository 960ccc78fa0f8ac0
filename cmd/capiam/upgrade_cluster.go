package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/workflow"
)

func newUpgradeClusterCommand(s streams) *cobra.Command {
	var (
		flags        clusterFlags
		output       outputFlag
		dryRun       bool
		allowLockout bool
	)
	cmd := &cobra.Command{
		Use:   "cluster -f FILE",
		Short: "Change who may log in to a cluster",
		Long: `Compare a spec with its cluster, show what will change, change it, and log in as
those who were changed to show that it works. Identities that were removed must be
refused.

Entries of other writers in aws-auth stay, and are shown. A change that would leave
nobody mapped to cluster-admin is refused. If the change fails, is interrupted, or
the logins do not come out as they should, everything is put back.

For a cluster that Cluster API keeps, named by --kubeconfig, it also switches AWS IAM
authentication on where it is not, and off with a spec that names no AWSIamConfig.
It says before whether control-plane machines will be replaced; changes of who may
log in, and new certificates, never replace one.

With --dry-run the changes go to standard output, and nothing is changed.

Exit status: 0 on success, also if there was nothing to do, 1 on failure, 124 on
timeout.`,
		Example: `  # After an edit to mapRoles or mapUsers
  capiam upgrade cluster -f examples/local.yaml

  # Only look
  capiam upgrade cluster -f examples/local.yaml --dry-run`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			spec, err := flags.load(s)
			if err != nil {
				return err
			}
			m, err := flags.manager(s)
			if err != nil {
				return err
			}
			plan := s.err
			if dryRun && output.form == outputTable {
				plan = s.out // it is all there is to be had
			}
			ctx, cancel := flags.context(cmd)
			defer cancel()
			result, err := m.Upgrade(ctx, spec, workflow.UpgradeOptions{
				DryRun: dryRun, AllowLockout: allowLockout, NoWait: !flags.wait,
				Show: func(changes, foreign []string) { showPlan(plan, changes, foreign) },
			})
			if err != nil {
				return failed(ctx, err)
			}
			return output.print(s.out, result, func(w io.Writer) error { return printUpgraded(w, s.err, result) })
		},
	}
	flags.register(cmd, 30*time.Minute)
	flags.registerOutputDir(cmd)
	output.register(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&allowLockout, "allow-lockout", false, "also make a change that leaves nobody mapped to cluster-admin")
	return cmd
}

func showPlan(w io.Writer, changes, foreign []string) {
	for _, line := range changes {
		fmt.Fprintf(w, "  %s\n", line)
	}
	for _, line := range foreign {
		fmt.Fprintf(w, "    %s (another writer's, stays)\n", line)
	}
}

func printUpgraded(w, progress io.Writer, r *workflow.UpgradeResult) error {
	switch {
	case r.DryRun && len(r.Changes)+len(r.Authenticator) > 0:
		fmt.Fprintln(progress, "Dry run: nothing was changed.")
		return nil
	case len(r.Changes) == 0 && !r.Changed:
		fmt.Fprintf(progress, "Cluster %q is as the spec says; nothing was written.\n", r.Cluster)
		return nil
	case len(r.Logins) == 0:
		return nil
	}
	fmt.Fprintln(progress)
	return printLogins(w, r.Logins)
}
