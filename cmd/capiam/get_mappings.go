package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/install"
)

func newGetMappingsCommand(s streams) *cobra.Command {
	var output outputFlag
	var management managementFlags
	cmd := &cobra.Command{
		Use:     "mappings CLUSTER",
		Aliases: []string{"mapping"},
		Short:   "List who may log in to a cluster, as it is now",
		Long: `List who may log in to a cluster, as it is now: what capiam has mapped, and what
others have written beside it.`,
		Example: `  capiam get mappings local

  # The names of those with all rights
  capiam get mappings local -o json |
    jq -r '.items[] | select(.groups // [] | index("system:masters")) | .principal'`,
		Args:              oneCluster,
		ValidArgsFunction: completeClusters(s),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			m, key, err := management.named(s, args[0])
			if err != nil {
				return err
			}
			list := func(ctx context.Context) ([]install.Mapping, error) { return m.Mappings(ctx, args[0]) }
			if management.given() {
				list = func(ctx context.Context) ([]install.Mapping, error) { return m.ManagedMappings(ctx, key) }
			}
			mappings, err := list(cmd.Context())
			if err != nil {
				return err
			}
			return output.print(s.out, struct {
				Items []install.Mapping `json:"items"`
			}{mappings}, func(w io.Writer) error {
				rows := make([][]string, len(mappings))
				for i, e := range mappings {
					writer := "capiam"
					if !e.Managed {
						writer = "other"
					}
					rows[i] = []string{e.Section, e.Principal, e.Username, strings.Join(e.Groups, ","), writer}
				}
				return printTable(w, []string{"IN", "PRINCIPAL", "USERNAME", "GROUPS", "WRITER"}, rows)
			})
		},
	}
	output.register(cmd)
	management.registerNamed(cmd)
	management.registerWorkload(cmd)
	return cmd
}
