package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/workflow"
)

func newDeleteCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "delete",
		Short: "Delete a cluster",
	}, newDeleteClusterCommand(s))
}

func newDeleteClusterCommand(s streams) *cobra.Command {
	var force, withCluster bool
	var management managementFlags
	var flags clusterFlags
	cmd := &cobra.Command{
		Use:   "cluster CLUSTER",
		Short: "Delete a cluster",
		Long: `Stop a cluster on this machine and remove everything that is its own: its data, its
keys, and the kubeconfigs and AWS profiles that were written for it. Other files beside
them stay.

With --kubeconfig, --context or --namespace the cluster is one that Cluster API keeps:
its Cluster object is deleted, and with it its machines, and then what capiam kept for
it. A Cluster that capiam has not made is deleted only with --with-cluster.`,
		Example: `  capiam delete cluster local

  # A cluster that Cluster API keeps
  capiam delete cluster prod -n clusters --kubeconfig management.kubeconfig`,
		Args:              oneCluster,
		ValidArgsFunction: completeClusters(s),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, key, err := management.named(s, args[0])
			if err != nil {
				return err
			}
			m.OutputDir = flags.outputDir
			ctx, cancel := flags.context(cmd)
			defer cancel()
			if management.given() {
				return failed(ctx, m.DeleteManaged(ctx, key, workflow.DeleteManagedOptions{WithCluster: withCluster, NoWait: !flags.wait}))
			}
			return failed(ctx, m.Delete(ctx, args[0], force))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also delete a cluster whose record is damaged")
	cmd.Flags().BoolVar(&withCluster, "with-cluster", false, "also delete a Cluster that capiam has not made, with its machines")
	cmd.Flags().BoolVar(&flags.wait, "wait", true, "wait until Cluster API has deleted the machines")
	management.registerNamed(cmd)
	flags.registerOutputDir(cmd)
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 15*time.Minute, "how long the command may take; it exits with 124 then")
	return cmd
}
