package main

import "github.com/spf13/cobra"

func newGenerateCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "generate",
		Short: "Write files without touching a cluster",
	}, newGenerateManifestsCommand(s))
}
