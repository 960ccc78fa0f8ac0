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
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the serving certificate, its key and the API server's kubeconfig",
		Long: `Make what a control plane needs before the webhook runs for the first time:
cert.pem and key.pem in the server's state directory, and the kubeconfig for the API
server's --authentication-token-webhook-config-file. Run "server" with
--kubeconfig-pregenerated=true then.

A certificate that is there already is kept, and the kubeconfig made for it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.settings(cmd, &s); err != nil {
				return err
			}
			cert, made, err := g.initCertificate(&s)
			if err != nil {
				return err
			}
			wrote, err := kubeconfig.WriteFile(s.GenerateKubeconfig, kubeconfig.Webhook(servingcert.ServerURL(s.Hostname, s.Port), cert.PEM()))
			if err != nil {
				return fmt.Errorf("the API server's kubeconfig: %w", err)
			}
			for _, f := range []struct {
				path  string
				wrote bool
			}{
				{filepath.Join(s.StateDir, servingcert.CertFile), made},
				{filepath.Join(s.StateDir, servingcert.KeyFile), made},
				{s.GenerateKubeconfig, wrote},
			} {
				done := "kept"
				if f.wrote {
					done = "wrote"
				}
				if _, err := fmt.Fprintf(g.err, "%s %s\n", done, f.path); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(g.err, "start the API server with --authentication-token-webhook-config-file=%s\n", s.GenerateKubeconfig)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Hostname, "hostname", s.Hostname, "`name` the API server reaches the webhook under")
	f.StringVar(&s.Address, "address", s.Address, "IP `address` the webhook is served on")
	f.IntVar(&s.Port, "port", s.Port, "port the webhook is served on")
	f.StringVar(&s.StateDir, "state-dir", s.StateDir, "`directory` for cert.pem and key.pem, the server's own")
	f.StringVar(&s.GenerateKubeconfig, "generate-kubeconfig", s.GenerateKubeconfig, "`path` for the API server's webhook kubeconfig")
	return cmd
}

// initCertificate reads the certificate in the state directory, or makes one. One
// that the API server would refuse is an error, since the server will not replace
// it either.
func (g *globals) initCertificate(s *config.Settings) (cert *servingcert.Source, made bool, err error) {
	log, err := g.logger()
	if err != nil {
		return nil, false, err
	}
	exists, err := servingcert.Exists(s.StateDir)
	if err != nil {
		return nil, false, err
	}
	if !exists {
		if err := servingcert.SelfSign(s.StateDir, s.Hostname, s.Address, time.Now()); err != nil {
			return nil, false, err
		}
	}
	if cert, err = servingcert.Open(s.StateDir, log, nil); err != nil {
		return nil, false, err
	}
	if err := cert.Check(); err != nil {
		return nil, false, fmt.Errorf("%w: replace %s and its key, or remove both", err, filepath.Join(s.StateDir, servingcert.CertFile))
	}
	if err := cert.Leaf().VerifyHostname(s.Hostname); err != nil {
		return nil, false, fmt.Errorf("%s is not for the host name that the API server will ask for: %w; remove it and its key, or give another --hostname",
			filepath.Join(s.StateDir, servingcert.CertFile), err)
	}
	return cert, !exists, nil
}
