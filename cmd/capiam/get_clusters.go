package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/capiam/capiam/pkg/workflow"
)

func newGetClustersCommand(s streams) *cobra.Command {
	var output outputFlag
	var management managementFlags
	cmd := &cobra.Command{
		Use:     "clusters",
		Aliases: []string{"cluster"},
		Short:   "List the clusters on this machine, or of a management cluster",
		Long: `List the clusters on this machine, and how each of them is: Ready, Starting, Stopped,
or Incomplete if its create has not ended well yet. A stopped or incomplete cluster
is taken up by "capiam create cluster" with its spec.

With --kubeconfig, --context or --namespace, list the clusters that Cluster API keeps
there with AWS IAM authentication, and their phase.`,
		Example: `  capiam get clusters

  # For a script
  capiam get clusters -o json | jq -r '.items[].name'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			m, _, err := management.named(s, "any")
			if err != nil {
				return err
			}
			list := m.List
			if management.given() {
				list = func(ctx context.Context) ([]workflow.Summary, error) { return m.ListManaged(ctx, management.namespace) }
			}
			clusters, err := list(cmd.Context())
			if len(clusters) == 0 && err != nil {
				return err
			}
			if len(clusters) == 0 && output.form == outputTable {
				where := "on this machine"
				if management.given() {
					where = "with AWS IAM authentication there"
				}
				fmt.Fprintf(s.err, "There are no clusters %s; make one with: capiam create cluster -f FILE\n", where)
				return nil
			}
			if printErr := output.print(s.out, struct {
				Items []workflow.Summary `json:"items"`
			}{clusters}, func(w io.Writer) error {
				rows := make([][]string, len(clusters))
				for i, c := range clusters {
					rows[i] = []string{c.Name, c.Status, c.Provider, c.Kubernetes, c.Server, duration.HumanDuration(time.Since(c.Created))}
					if management.given() {
						rows[i] = append([]string{c.Namespace}, rows[i]...)
					}
				}
				head := []string{"NAME", "STATUS", "PROVIDER", "KUBERNETES", "SERVER", "AGE"}
				if management.given() {
					head = append([]string{"NAMESPACE"}, head...)
				}
				return printTable(w, head, rows)
			}); printErr != nil {
				return printErr
			}
			return err
		},
	}
	output.register(cmd)
	management.registerNamed(cmd)
	return cmd
}
