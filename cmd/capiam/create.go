package main

import "github.com/spf13/cobra"

func newCreateCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create a cluster",
	}
	cmd.AddCommand(newCreateClusterCommand(s))
	return cmd
}
