package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/authenticator"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/stsclient"
	"github.com/capiam/capiam/pkg/authenticator/webidentity"
	"github.com/capiam/capiam/pkg/iam"
)

func newVerifyCommand(g *globals) *cobra.Command {
	s := config.Defaults()
	var token, output string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify a token and print whose it is",
		Long: `Verify a token as the server would, and print whose it is. What the principal is
mapped to is not looked at. Give the token as "-" to read it from standard input,
where other processes on the machine cannot see it.`,
		Example: `  capiam-authenticator token -i my-cluster --token-only | capiam-authenticator verify -i my-cluster -t -`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.settings(cmd, &s); err != nil {
				return err
			}
			if token == "-" {
				data, err := io.ReadAll(io.LimitReader(g.in, 1<<20))
				if err != nil {
					return fmt.Errorf("standard input: %w", err)
				}
				token = strings.TrimSpace(string(data))
			}
			if token == "" {
				return errors.New("no token: give --token")
			}
			id, err := verify(cmd, &s, token)
			if err != nil {
				return err
			}
			return printIdentity(g.out, output, id)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&token, "token", "t", "", `the token, or "-" for standard input`)
	f.StringVarP(&output, "output", "o", "", `"json", or nothing for text`)
	f.StringVar(&s.Partition, "partition", s.Partition, "AWS partition, one of "+strings.Join(iam.PartitionIDs(), ", "))
	return cmd
}

func verify(cmd *cobra.Command, s *config.Settings, token string) (*identity.Identity, error) {
	partition, _ := iam.LookupPartition(s.Partition) // checked with the settings
	parser, err := presigned.NewParser(partition, s.KnownRegions(partition)...)
	if err != nil {
		return nil, err
	}
	sts, err := stsclient.New(stsclient.Options{ClusterID: s.ClusterID, Partition: s.Partition, Endpoint: s.STSEndpoint})
	if err != nil {
		return nil, err
	}
	defer sts.Close()
	issuers := make([]webidentity.Issuer, len(s.TokenIssuers))
	for i, t := range s.TokenIssuers {
		issuers[i] = webidentity.Issuer{URL: t.IssuerURL, Account: t.AccountID}
	}
	jwt := webidentity.New(webidentity.Options{Issuers: issuers, Audiences: s.Audiences, Partition: s.Partition})
	defer jwt.Close()
	return authenticator.NewDecider(authenticator.DeciderOptions{
		RefusePresigned: !s.TakesPresigned(), RefuseJWT: !s.TakesJWT(), Presigned: parser, STS: sts, JWT: jwt,
	}).Verify(cmd.Context(), token)
}

// printIdentity prints an identity with the original's field names.
func printIdentity(w io.Writer, output string, id *identity.Identity) error {
	out := struct {
		ARN          string
		CanonicalARN string
		AccountID    string
		UserID       string
		SessionName  string
		AccessKeyID  string
	}{id.ARN.String(), id.Canonical, id.ARN.Account, id.UserID, id.SessionName, id.AccessKeyID}
	switch output {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "    ")
		return e.Encode(out)
	case "":
		_, err := fmt.Fprintf(w, "ARN: %s\nCanonicalARN: %s\nAccountID: %s\nUserID: %s\nSessionName: %s\nAccessKeyID: %s\n",
			out.ARN, out.CanonicalARN, out.AccountID, out.UserID, out.SessionName, out.AccessKeyID)
		return err
	}
	return fmt.Errorf("--output: unknown format %q (json)", output)
}
