package main

import "github.com/spf13/cobra"

func newUpgradeCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "upgrade",
		Short: "Change a cluster to what its spec says",
	}, newUpgradeClusterCommand(s))
}
