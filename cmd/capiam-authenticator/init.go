package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/servingcert"
	"github.com/capiam/capiam/pkg/kubeconfig"
)

func newInitCommand(g *globals) *cobra.Command {
	s := config.Defaults()
	s.StateDir, s.GenerateKubeconfig = ".", "aws-iam-authenticator.kubeconfig"
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the serving certificate, its key and the API server's kubeconfig",
		Long: `Make what a control plane needs before the webhook runs for the first time:
cert.pem and key.pem, which go into the server's state directory, and the kubeconfig
for the API server's --authentication-token-webhook-config-file. Run "server" with
--kubeconfig-pregenerated=true then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.settings(cmd, &s); err != nil {
				return err
			}
			exists, err := servingcert.Exists(s.StateDir)
			if err != nil {
				return err
			}
			if exists {
				return fmt.Errorf("%s exists already: remove it and its key first, or keep them", filepath.Join(s.StateDir, servingcert.CertFile))
			}
			if err := servingcert.SelfSign(s.StateDir, s.Hostname, s.Address, time.Now()); err != nil {
				return err
			}
			log, err := g.logger()
			if err != nil {
				return err
			}
			cert, err := servingcert.Open(s.StateDir, log, nil)
			if err != nil {
				return err
			}
			if _, err := kubeconfig.WriteFile(s.GenerateKubeconfig, kubeconfig.Webhook(servingcert.ServerURL(s.Hostname, s.Port), cert.PEM())); err != nil {
				return err
			}
			_, err = fmt.Fprintf(g.err, "wrote %s, %s and %s\ncopy the first two to the server's state directory, the last to where the API server reads it\n",
				filepath.Join(s.StateDir, servingcert.CertFile), filepath.Join(s.StateDir, servingcert.KeyFile), s.GenerateKubeconfig)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Hostname, "hostname", s.Hostname, "`name` the API server reaches the webhook under")
	f.StringVar(&s.Address, "address", s.Address, "IP `address` the webhook is served on")
	f.IntVar(&s.Port, "port", s.Port, "port the webhook is served on")
	f.StringVar(&s.StateDir, "state-dir", s.StateDir, "`directory` to write cert.pem and key.pem to")
	f.StringVar(&s.GenerateKubeconfig, "generate-kubeconfig", s.GenerateKubeconfig, "`path` to write the kubeconfig to")
	return cmd
}
