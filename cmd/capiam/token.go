package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/token"
)

// newTokenCommand makes "capiam token", the exec plugin of kubeconfigs.
func newTokenCommand(s streams) *cobra.Command {
	var (
		opts      token.Options
		jwt       bool
		tokenOnly bool
	)
	cmd := &cobra.Command{
		Use:   "token -i CLUSTER_ID",
		Short: "Make a login token from AWS credentials",
		Long: `Make a token that logs in to a cluster as the caller's AWS identity, and print it
as the ExecCredential that kubectl reads from an exec plugin.

The credentials come from where the AWS CLI has them: the environment, a profile
(AWS_PROFILE), SSO, or the machine's role. Without --jwt the token is a presigned
request, as "aws eks get-token" makes it; with --jwt it is a JSON Web Token from
STS, which needs outbound identity federation switched on in the AWS account.

The ExecCredential is of the version that KUBERNETES_EXEC_INFO asks for, v1 or
v1beta1. Only the token goes to standard output.`,
		Example: `  # What a kubeconfig calls
  capiam token -i my-cluster

  # A JSON Web Token, as another profile
  AWS_PROFILE=ops capiam token -i my-cluster --jwt

  # The bare token of an assumed role
  capiam token -i my-cluster --role arn:aws:iam::111122223333:role/Deployer --token-only`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := jwtFlagsAlone(cmd, jwt); err != nil {
				return err
			}
			info := os.Getenv("KUBERNETES_EXEC_INFO")
			opts.Err = s.err
			if token.Interactive(info) {
				opts.In = s.in
			}
			return printToken(cmd.Context(), s.out, opts, jwt, tokenOnly, info)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.ClusterID, "cluster-id", "i", "", "the cluster's ID, as its authenticator knows it (required)")
	f.BoolVar(&jwt, "jwt", false, "get a JSON Web Token from STS instead of presigning a request")
	f.StringVar(&opts.Region, "region", "", "AWS region of the STS endpoint (default: the AWS configuration's, or us-east-1)")
	f.StringVar(&opts.Profile, "profile", "", "profile of the AWS configuration files (default: AWS_PROFILE)")
	f.StringVarP(&opts.RoleARN, "role", "r", "", "ARN of a role to assume first")
	f.StringVarP(&opts.SessionName, "session-name", "s", "", "session name of that role (default: capiam-token)")
	f.StringVarP(&opts.ExternalID, "external-id", "e", "", "external ID that role asks for")
	f.StringVar(&opts.Audience, "audience", "", "audience of the JWT (default: the cluster's ID)")
	f.StringVar(&opts.Algorithm, "algorithm", "", "signature algorithm of the JWT, RS256 or ES384 (default: RS256)")
	f.DurationVar(&opts.Duration, "duration", 0, "lifetime of the JWT, 1m to 1h (default: STS's, 5m)")
	f.BoolVar(&tokenOnly, "token-only", false, "print the token alone")
	if err := errors.Join(
		cmd.MarkFlagRequired("cluster-id"),
		cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions([]string{token.RS256, token.ES384}, cobra.ShellCompDirectiveNoFileComp)),
	); err != nil {
		// Only a flag that does not exist gets here.
		cmd.RunE = func(*cobra.Command, []string) error { return err }
	}
	return cmd
}

// jwtFlagsAlone refuses flags that would silently do nothing.
func jwtFlagsAlone(cmd *cobra.Command, jwt bool) error {
	if jwt {
		return nil
	}
	for _, name := range []string{"audience", "algorithm", "duration"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s goes with --jwt", name)
		}
	}
	return nil
}

// printToken makes a token and prints it.
func printToken(ctx context.Context, out io.Writer, opts token.Options, jwt, tokenOnly bool, info string) error {
	// The answer's version is wrong before any token is made.
	if _, err := token.ExecCredential(token.Token{}, info); err != nil && !tokenOnly {
		return err
	}
	makeToken := token.Presign
	if jwt {
		makeToken = token.JWT
	}
	tok, err := makeToken(ctx, opts)
	if err != nil {
		return err
	}
	if tokenOnly {
		_, err = fmt.Fprintln(out, tok.Value)
		return err
	}
	b, err := token.ExecCredential(tok, info)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}
