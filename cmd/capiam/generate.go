package main

import "github.com/spf13/cobra"

func newGenerateCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Write files without touching a cluster",
	}
	cmd.AddCommand(newGenerateManifestsCommand(s))
	return cmd
}
