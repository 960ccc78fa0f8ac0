package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// group makes a command of others. Alone it shows its help; cobra would do so
// for a misspelt command as well, and call that a success.
func group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(commands...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q: did you mean \"%s %s\"?", name, cmd.CommandPath(), near[0])
	}
	return fmt.Errorf("unknown command %q: \"%s --help\" lists those there are", name, cmd.CommandPath())
}

// usageTemplate is cobra's without the line that a group could be run with no
// command.
func usageTemplate(cmd *cobra.Command) string {
	return strings.Replace(cmd.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1)
}

// noArgs refuses any argument.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.Flags().Lookup("filename") != nil:
		return fmt.Errorf("%q: %s takes no argument; name the spec with -f FILE", args[0], cmd.CommandPath())
	default:
		return fmt.Errorf("%q: %s takes no argument", args[0], cmd.CommandPath())
	}
}

// oneCluster wants the name of one cluster.
func oneCluster(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("name a cluster: %s CLUSTER (\"capiam get clusters\" lists those there are)", cmd.CommandPath())
	case 1:
		return nil
	default:
		return fmt.Errorf("%s takes one cluster at a time", cmd.CommandPath())
	}
}

// flagError points to the help, as a flag that is not known is often one of
// another command.
func flagError(cmd *cobra.Command, err error) error {
	return errors.New(err.Error() + " (see " + cmd.CommandPath() + " --help)")
}
