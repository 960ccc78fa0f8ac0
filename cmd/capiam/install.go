package main

import "github.com/spf13/cobra"

func newInstallCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "install",
		Short: "Install what users need on their machines",
	}, newInstallClientCommand(s))
}
