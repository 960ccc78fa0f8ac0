package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newGetKubeconfigCommand(s streams) *cobra.Command {
	var admin, path bool
	var management managementFlags
	cmd := &cobra.Command{
		Use:   "kubeconfig CLUSTER",
		Short: "Print a cluster's kubeconfig",
		Long: `Print the kubeconfig that users log in to a cluster with, or the administrator's,
which does not need AWS and holds a private key.`,
		Example: `  capiam get kubeconfig local > ~/.kube/local

  # The file that is kept up to date
  export KUBECONFIG=$(capiam get kubeconfig local --path)`,
		Args:              oneCluster,
		ValidArgsFunction: completeClusters(s),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, key, err := management.named(s, args[0])
			if err != nil {
				return err
			}
			if management.given() {
				if path {
					return errors.New("--path is for clusters on this machine: of one that Cluster API keeps, a Secret holds the kubeconfig")
				}
				data, err := m.ManagedKubeconfig(cmd.Context(), key, admin)
				if err == nil {
					_, err = s.out.Write(data)
				}
				return err
			}
			outputs, err := m.Outputs(args[0])
			if err != nil {
				return err
			}
			file := outputs.User()
			if admin {
				file = outputs.Admin()
			}
			if path {
				_, err = fmt.Fprintln(s.out, file)
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("%w; \"capiam create cluster -f FILE\" writes it again", err)
			}
			_, err = s.out.Write(data)
			return err
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "the administrator's")
	management.registerNamed(cmd)
	cmd.Flags().BoolVar(&path, "path", false, "print where the file is, not what is in it")
	return cmd
}
