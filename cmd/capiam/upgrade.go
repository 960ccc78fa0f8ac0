package main

import "github.com/spf13/cobra"

func newUpgradeCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Change a cluster to what its spec says",
	}
	cmd.AddCommand(newUpgradeClusterCommand(s))
	return cmd
}
