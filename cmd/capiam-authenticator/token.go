package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/token"
)

func newTokenCommand(g *globals) *cobra.Command {
	var (
		o         token.Options
		tokenOnly bool
		jwt       bool
		cache     bool
	)
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token from the AWS credentials found, for kubectl",
		Long: `Make a token from the AWS credentials that the standard chain finds, and print it as
the ExecCredential that kubectl reads from a plugin.`,
		Example: `  capiam-authenticator token -i my-cluster`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cache {
				return errors.New("--cache is not honoured: it would write credentials to disk in plain text; use a credential_process or SSO profile, which cache their own")
			}
			var err error
			if o.ClusterID, err = g.tokenClusterID(); err != nil {
				return err
			}
			if o.RoleARN == "" {
				o.RoleARN = os.Getenv(envDefaultRole)
			}
			info := os.Getenv("KUBERNETES_EXEC_INFO")
			if token.Interactive(info) {
				o.In, o.Err = g.in, g.err
			}
			makeToken := token.Presign
			if jwt {
				makeToken = token.JWT
			}
			tok, err := makeToken(cmd.Context(), o)
			if err != nil {
				return err
			}
			if tokenOnly {
				_, err = fmt.Fprintln(g.out, tok.Value)
				return err
			}
			cred, err := token.ExecCredential(tok, info)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(g.out, "%s\n", cred)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.RoleARN, "role", "r", "", "`ARN` of a role to assume first (or "+envDefaultRole+")")
	f.StringVarP(&o.ExternalID, "external-id", "e", "", "external `ID` that the role asks for")
	f.StringVarP(&o.SessionName, "session-name", "s", "", "`name` of the role's session")
	f.StringVar(&o.Region, "region", "", "AWS `region` whose STS the token is for")
	f.BoolVar(&tokenOnly, "token-only", false, "print the bare token")
	f.BoolVar(&jwt, "jwt", false, "make a JWT instead of a presigned request")
	f.BoolVar(&o.ForwardSessionName, "forward-session-name", false, "give the role's session the name of the session that assumes it")
	f.BoolVar(&cache, "cache", false, "not honoured")
	return cmd
}

// tokenClusterID is the cluster a token is made for: the flag's, the
// environment's or the file's, in this order.
func (g *globals) tokenClusterID() (string, error) {
	file, err := g.readConfig()
	if err != nil {
		return "", err
	}
	id := cmp.Or(g.clusterID, os.Getenv(envClusterID), file.ClusterID)
	if id == "" {
		return "", errors.New("no cluster ID: give --cluster-id, or clusterID in the configuration file")
	}
	return id, nil
}
