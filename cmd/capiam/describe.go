package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/tree"
)

func newDescribeCommand(s streams) *cobra.Command {
	return group(&cobra.Command{
		Use:   "describe",
		Short: "Show how a cluster is",
	}, newDescribeClusterCommand(s))
}

func newDescribeClusterCommand(s streams) *cobra.Command {
	var output outputFlag
	var management managementFlags
	cmd := &cobra.Command{
		Use:   "cluster CLUSTER",
		Short: "Show how a cluster is, as a tree",
		Long: `Show a cluster as a tree: control plane, webhook, authenticator, certificates,
mappings and the last change. What is not as it should be is marked.

With --kubeconfig, --context or --namespace the cluster is one that Cluster API keeps,
and the tree is over both clusters: Cluster API's objects and machines, and what is
installed in the cluster itself.

Exit status: 0 if everything is ready, 1 otherwise.`,
		Example:           `  capiam describe cluster local`,
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
			describe := func(ctx context.Context) (*tree.Node, error) { return m.Describe(ctx, args[0]) }
			if management.given() {
				describe = func(ctx context.Context) (*tree.Node, error) { return m.DescribeManaged(ctx, key) }
			}
			root, err := describe(cmd.Context())
			if err != nil {
				return err
			}
			if err := output.print(s.out, root, func(w io.Writer) error {
				printNode(w, "", "", *root)
				return nil
			}); err != nil {
				return err
			}
			if !*root.Ready {
				return &exitError{code: exitFailure, err: fmt.Errorf("cluster %q is not ready", args[0])}
			}
			return nil
		},
	}
	output.register(cmd)
	management.registerNamed(cmd)
	management.registerWorkload(cmd)
	return cmd
}

// printNode prints a part of a tree and what is below it. The first prefix is
// for the part's own line, the other for the lines below.
func printNode(w io.Writer, first, rest string, n tree.Node) {
	mark := ""
	if n.Ready != nil {
		mark = "✗ "
		if *n.Ready {
			mark = "✔ "
		}
	}
	line := first + mark + n.Name
	if n.Detail != "" {
		line += ": " + n.Detail
	}
	fmt.Fprintln(w, line)
	for i, part := range n.Parts {
		branch, below := "├─", "│ "
		if i == len(n.Parts)-1 {
			branch, below = "└─", "  "
		}
		printNode(w, rest+branch, rest+below, part)
	}
}
