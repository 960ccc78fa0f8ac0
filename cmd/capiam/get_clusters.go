package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/capiam/capiam/pkg/workflow"
)

func newGetClustersCommand(s streams) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "clusters",
		Aliases: []string{"cluster"},
		Short:   "List the clusters on this machine",
		Long: `List the clusters on this machine, and how each of them is: Ready, Starting, Stopped,
or Incomplete if its create has not ended well yet. A stopped or incomplete cluster
is taken up by "capiam create cluster" with its spec.`,
		Example: `  capiam get clusters

  # For a script
  capiam get clusters -o json | jq -r '.items[].name'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			m, err := newManager(s, ".")
			if err != nil {
				return err
			}
			clusters, err := m.List(cmd.Context())
			if len(clusters) == 0 && err != nil {
				return err
			}
			if len(clusters) == 0 && output.form == outputTable {
				fmt.Fprintln(s.err, "There are no clusters on this machine; make one with: capiam create cluster -f FILE")
				return nil
			}
			if printErr := output.print(s.out, struct {
				Items []workflow.Summary `json:"items"`
			}{clusters}, func(w io.Writer) error {
				rows := make([][]string, len(clusters))
				for i, c := range clusters {
					rows[i] = []string{c.Name, c.Status, c.Provider, c.Kubernetes, c.Server, duration.HumanDuration(time.Since(c.Created))}
				}
				return printTable(w, []string{"NAME", "STATUS", "PROVIDER", "KUBERNETES", "SERVER", "AGE"}, rows)
			}); printErr != nil {
				return printErr
			}
			return err
		},
	}
	output.register(cmd)
	return cmd
}
