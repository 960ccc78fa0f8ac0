package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/capiam/capiam/pkg/workflow"
)

func newGetClustersCommand(s streams) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:               "clusters",
		Aliases:           []string{"cluster"},
		Short:             "List the clusters on this machine",
		Args:              cobra.NoArgs,
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
