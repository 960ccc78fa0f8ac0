package main

import "github.com/spf13/cobra"

func newInstallCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install what users need on their machines",
	}
	cmd.AddCommand(newInstallClientCommand(s))
	return cmd
}
