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

A first create that fails or is interrupted takes away what it made, unless
--retain is given.

Exit status: 0 if every login came out as it should, 1 on failure, 124 on timeout.`,
		Example: `  # A cluster on this machine
  capiam create cluster -f examples/local.yaml

  # With the kubeconfigs somewhere else
  capiam create cluster -f cluster.yaml --output-dir ~/clusters

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
			result, err := m.Create(ctx, spec, workflow.CreateOptions{Retain: retain})
			if err != nil {
				return failed(ctx, err)
			}
			return output.print(s.out, result, func(w io.Writer) error {
				return printCreated(w, s.err, flags.file, result)
			})
		},
	}
	flags.register(cmd, 10*time.Minute)
	flags.registerOutputDir(cmd)
	output.register(cmd)
	cmd.Flags().BoolVar(&retain, "retain", false, "keep what was made if the first create fails")
	return cmd
}

func printCreated(w, progress io.Writer, file string, r *workflow.CreateResult) error {
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
	if file != "-" {
		next.SpecFile = file
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
