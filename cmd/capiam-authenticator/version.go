package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/version"
)

func newVersionCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version.Get()
			_, err := fmt.Fprintf(g.out, `{"Version":%q,"Commit":%q}`+"\n", v.Version, v.Commit)
			return err
		},
	}
}
