package main

import "github.com/spf13/cobra"

func newCreateCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "create",
		Short: "Create a cluster",
	}, newCreateClusterCommand(s))
}
