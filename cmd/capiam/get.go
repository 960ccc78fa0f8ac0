package main

import "github.com/spf13/cobra"

func newGetCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "get",
		Short: "Show clusters, mappings, kubeconfigs and client downloads",
	},
		newGetClustersCommand(s),
		newGetMappingsCommand(s),
		newGetKubeconfigCommand(s),
		newGetClientCommand(s),
	)
}
