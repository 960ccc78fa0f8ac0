package main

import (
	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/authenticator/bootstrap"
)

func newBootstrapCommand(g *globals) *cobra.Command {
	o := bootstrap.Options{
		Kubeconfig: bootstrap.AdminKubeconfig, Namespace: "kube-system", ServiceAccount: "aws-iam-authenticator",
	}
	var configMaps, secrets []string
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Fetch what the server needs on a node that cannot run its pod yet",
		Long: `Fetch what the server needs on a control-plane node that cannot run a pod of the
DaemonSet yet: the ConfigMaps and Secrets such a pod mounts, and a token of its
ServiceAccount with a kubeconfig that goes by it. What is not there yet is waited
for.

It runs as the init container of a static pod, by the administrator's kubeconfig
that kubeadm leaves on the node. "server --until-ready" comes after it.`,
		Example: `  capiam-authenticator bootstrap --dir /run/aws-iam-authenticator \
    --configmap aws-iam-authenticator=/etc/aws-iam-authenticator \
    --secret aws-iam-authenticator=/var/aws-iam-authenticator`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Log, err = g.logger(); err != nil {
				return err
			}
			if o.ConfigMaps, err = parseMounts(configMaps); err != nil {
				return err
			}
			if o.Secrets, err = parseMounts(secrets); err != nil {
				return err
			}
			return bootstrap.Fetch(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "administrator's kubeconfig `file`")
	f.StringVar(&o.Namespace, "namespace", o.Namespace, "`namespace` of all that is fetched")
	f.StringVar(&o.ServiceAccount, "service-account", o.ServiceAccount, "`name` of the ServiceAccount")
	f.StringVar(&o.Dir, "dir", "", "`directory` for the token and the kubeconfig")
	f.StringArrayVar(&configMaps, "configmap", nil, "ConfigMap to write to a directory, as `NAME=DIRECTORY[,optional]`; may be given again")
	f.StringArrayVar(&secrets, "secret", nil, "the same for a Secret")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func parseMounts(texts []string) ([]bootstrap.Mount, error) {
	mounts := make([]bootstrap.Mount, len(texts))
	for i, text := range texts {
		var err error
		if mounts[i], err = bootstrap.ParseMount(text); err != nil {
			return nil, err
		}
	}
	return mounts, nil
}
