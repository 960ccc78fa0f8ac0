package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/workflow"
	"github.com/capiam/capiam/templates"
)

func newCreateClusterCommand(s streams) *cobra.Command {
	var (
		flags  clusterFlags
		output outputFlag
		retain bool
	)
	cmd := &cobra.Command{
		Use:   "cluster -f FILE",
		Short: "Create a cluster that AWS identities can log in to",
		Long: `Create the cluster of a spec: bring its control plane up with AWS IAM
authentication switched on, install the authenticator, map the identities, write
CLUSTER/CLUSTER-aws.kubeconfig for users and CLUSTER/CLUSTER-eks-a-cluster.kubeconfig
for the administrator, and log in as every identity to show that it works.

For a cluster that exists the command carries on: after a reboot or a killed
create it brings up what is missing, and leaves alone what is right. Changes of
who may log in are made by "capiam upgrade cluster".

A first create on this machine that fails or is interrupted takes away what it made,
unless --retain is given.

With a ClusterAPIDatacenterConfig or a DockerDatacenterConfig, Cluster API makes the
cluster: --kubeconfig names its management cluster. The spec's objects are patched
and applied there, and the rest is installed once the control plane is up. Such a
create leaves what it made when it fails; the same command carries on.

Exit status: 0 if every login came out as it should, 1 on failure, 124 on timeout.`,
		Example: `  # A cluster on this machine
  capiam create cluster -f examples/local.yaml

  # With the kubeconfigs somewhere else
  capiam create cluster -f cluster.yaml --output-dir ~/clusters

  # Through Cluster API
  capiam create cluster -f cluster.yaml --kubeconfig management.kubeconfig

  # From standard input, with the result for a program
  capiam create cluster -f - -o json < cluster.yaml`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			spec, err := flags.load(s)
			if err != nil {
				return err
			}
			m, err := flags.manager(s)
			if err != nil {
				return err
			}
			ctx, cancel := flags.context(cmd)
			defer cancel()
			result, err := m.Create(ctx, spec, workflow.CreateOptions{Retain: retain, NoWait: !flags.wait})
			if err != nil {
				return failed(ctx, err)
			}
			return output.print(s.out, result, func(w io.Writer) error {
				return printCreated(w, s.err, &flags, result)
			})
		},
	}
	flags.register(cmd, 30*time.Minute)
	flags.registerOutputDir(cmd)
	output.register(cmd)
	cmd.Flags().BoolVar(&retain, "retain", false, "keep what was made if the first create fails")
	return cmd
}

func printCreated(w, progress io.Writer, flags *clusterFlags, r *workflow.CreateResult) error {
	if r.Unfinished {
		return nil
	}
	if len(r.Logins) > 0 {
		fmt.Fprintln(progress)
		if err := printLogins(w, r.Logins); err != nil {
			return err
		}
	}
	for _, line := range r.Pending {
		fmt.Fprintf(progress, "  %s\n", line)
	}
	next := templates.NextStepsData{
		Program:         calledAs(),
		Cluster:         r.Cluster,
		UserKubeconfig:  relative(r.UserKubeconfig),
		AdminKubeconfig: relative(r.AdminKubeconfig),
		AWSConfigFile:   relative(r.AWSConfig), AWSCredentialsFile: relative(r.AWSCredentials),
		Environment: r.AWSEnvironment,
	}
	if flags.file != "-" {
		next.SpecFile = flags.file
	}
	if r.Namespace != "" {
		next.Namespace, next.ManagementFlags = r.Namespace, flags.management.args()
	}
	for _, l := range r.Logins {
		if l.Refused {
			next.Stranger = l.Profile
		} else {
			next.Profiles = append(next.Profiles, l.Profile)
		}
	}
	text, err := templates.NextSteps(next)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(progress, "\n%s", text)
	return err
}

// printLogins prints how logins came out.
func printLogins(w io.Writer, logins []workflow.Login) error {
	rows := make([][]string, len(logins))
	for i, l := range logins {
		username, may := l.Username, l.May
		if l.Refused {
			username, may = "", "refused (401)"
		}
		rows[i] = []string{l.Profile, l.ARN, string(l.Token), username, strings.Join(l.Groups, ","), may}
	}
	return printTable(w, []string{"PROFILE", "ARN", "TOKEN", "USERNAME", "GROUPS", "MAY"}, rows)
}
