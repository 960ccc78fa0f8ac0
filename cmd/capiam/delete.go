package main

import (
	"time"

	"github.com/spf13/cobra"
)

func newDeleteCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "delete",
		Short: "Delete a cluster",
	}, newDeleteClusterCommand(s))
}

func newDeleteClusterCommand(s streams) *cobra.Command {
	var force bool
	var flags clusterFlags
	cmd := &cobra.Command{
		Use:   "cluster CLUSTER",
		Short: "Delete a cluster on this machine",
		Long: `Stop a cluster on this machine and remove everything that is its own: its data, its
keys, and the kubeconfigs and AWS profiles that were written for it. Other files beside
them stay.`,
		Example:           `  capiam delete cluster local`,
		Args:              oneCluster,
		ValidArgsFunction: completeClusters(s),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := newManager(s, ".")
			if err != nil {
				return err
			}
			ctx, cancel := flags.context(cmd)
			defer cancel()
			return failed(ctx, m.Delete(ctx, args[0], force))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also delete a cluster whose record is damaged")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", time.Minute, "how long the command may take; it exits with 124 then")
	return cmd
}
