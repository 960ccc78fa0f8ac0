package main

import "github.com/spf13/cobra"

func newGetCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Show clusters, mappings, kubeconfigs and client downloads",
	}
	return cmd
}
