package main

import "github.com/spf13/cobra"

func newGetCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Show clusters, mappings, kubeconfigs and client downloads",
	}
	cmd.AddCommand(
		newGetClustersCommand(s),
		newGetMappingsCommand(s),
		newGetKubeconfigCommand(s),
		newGetClientCommand(s),
	)
	return cmd
}
