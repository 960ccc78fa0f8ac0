package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/generate"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
)

// generateManifestsFlags are those of capiam generate manifests.
type generateManifestsFlags struct {
	file, dir       string
	image           string
	bundlesOverride string
	caCert, caKey   string
	server          string
	serverCA        string
}

func newGenerateManifestsCommand(s streams) *cobra.Command {
	var f generateManifestsFlags
	cmd := &cobra.Command{
		Use:   "manifests -f FILE [-o DIR]",
		Short: "Write everything that a spec's cluster would get",
		Long: `Write what "capiam create cluster" would install and hand out, without touching a
cluster: the authenticator's objects, who may log in, the API servers' webhook
kubeconfig and the users' kubeconfig.

Without -o, the API objects go to standard output as one stream of YAML
documents, as "kubectl apply -f -" takes it. The stream holds a private key.

With -o, everything goes to a directory. Run again, the cluster ID and the CA
that are kept there stay, and the certificate until it should be renewed; so the
same spec gives the same files. Files with a private key have mode 0600.

If the spec brings Cluster API objects, they are written to cluster-api.yaml, patched
and with their comments, and the Secret that they refer to to cluster-api-bootstrap.yaml:
they are for the management cluster, the Secret first, and not part of the stream.

The users' kubeconfig needs --server and --certificate-authority.`,
		Example: `  # Look at what a spec amounts to
  capiam generate manifests -f cluster.yaml

  # Everything, to be kept; run it again after an edit to the spec
  capiam generate manifests -f cluster.yaml -o generated

  # With the users' kubeconfig
  capiam generate manifests -f cluster.yaml -o generated \
    --server https://192.0.2.10:6443 --certificate-authority ca.crt`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "filename", "f", "", "the cluster's spec, or - for standard input (required)")
	flags.StringVarP(&f.dir, "output-dir", "o", "", "the directory to write to (default: API objects to standard output)")
	flags.StringVar(&f.image, "image", "", "the authenticator's image (default: the spec's, or the release's)")
	flags.StringVar(&f.bundlesOverride, "bundles-override", "", "a release manifest to use instead of the one that is built in")
	flags.StringVar(&f.caCert, "ca-cert", "", "the certificate of the CA to sign with (default: the directory's, or a new one)")
	flags.StringVar(&f.caKey, "ca-key", "", "the key of that CA")
	flags.StringVar(&f.server, "server", "", "the URL of the API server, for the users' kubeconfig")
	flags.StringVar(&f.serverCA, "certificate-authority", "", "the file with the API server's CA, for the users' kubeconfig")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml")
	_ = cmd.MarkFlagDirname("output-dir")
	cmd.MarkFlagsRequiredTogether("ca-cert", "ca-key")
	cmd.MarkFlagsRequiredTogether("server", "certificate-authority")
	return cmd
}

func (f *generateManifestsFlags) run(ctx context.Context, s streams) error {
	o, err := f.options(s)
	if err != nil {
		return err
	}
	for _, w := range o.Spec.Warnings {
		fmt.Fprintf(s.err, "warning: %s\n", w)
	}
	r, err := generate.Run(ctx, o)
	if err != nil {
		return err
	}
	if f.dir == "" {
		return f.stream(s, r)
	}
	changes, err := r.Write(ctx, f.dir)
	for _, c := range changes {
		fmt.Fprintf(s.err, "%s %s\n", c.Action, c.Path)
	}
	if err != nil {
		return err
	}
	if r.NewClusterID {
		fmt.Fprintf(s.err, "cluster ID %s was made up; it is kept in %s\n", r.ClusterID, f.dir)
	}
	if f.server == "" {
		fmt.Fprintln(s.err, "the users' kubeconfig is left out: it needs --server and --certificate-authority")
	}
	return nil
}

func (f *generateManifestsFlags) stream(s streams, r *generate.Result) error {
	data, err := r.Stream()
	if err != nil {
		return err
	}
	if r.NewClusterID {
		fmt.Fprintf(s.err, "cluster ID %s was made up for this output; name one in spec.clusterID, or use -o DIR, to keep it\n", r.ClusterID)
	}
	if r.NewCA {
		fmt.Fprintln(s.err, "the CA was made up for this output and its certificate is not in it; use -o DIR to keep it, with the API servers' webhook kubeconfig")
	}
	if r.ClusterAPI != nil {
		fmt.Fprintln(s.err, "the Cluster API objects are left out, as they are for the management cluster; use -o DIR to have them in a file")
	}
	if _, err := s.out.Write(data); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func (f *generateManifestsFlags) options(s streams) (generate.Options, error) {
	var o generate.Options
	cluster, err := spec.Load(f.file, s.in)
	if err != nil {
		return o, err
	}
	if cluster.IAM == nil {
		return o, errors.New("the spec names no AWSIamConfig in spec.identityProviderRefs, so there is nothing to generate")
	}
	o = generate.Options{Spec: cluster, Dir: f.dir, Image: f.image, Command: f.command()}
	if o.Release, err = release.Load(f.bundlesOverride); err != nil {
		return o, err
	}
	if f.caCert != "" {
		cert, err := os.ReadFile(f.caCert)
		if err != nil {
			return o, fmt.Errorf("read the CA's certificate: %w", err)
		}
		key, err := os.ReadFile(f.caKey)
		if err != nil {
			return o, fmt.Errorf("read the CA's key: %w", err)
		}
		if o.CA, err = pki.LoadCA(cert, key); err != nil {
			return o, fmt.Errorf("%s: %w", f.caCert, err)
		}
	}
	if f.server != "" {
		if !strings.HasPrefix(f.server, "https://") {
			return o, errors.New("--server: want a URL that starts with https://")
		}
		ca, err := os.ReadFile(f.serverCA)
		if err != nil {
			return o, fmt.Errorf("read the API server's CA: %w", err)
		}
		if _, err := pki.ParseCert(ca); err != nil {
			return o, fmt.Errorf("%s: %w", f.serverCA, err)
		}
		o.APIServer = render.Endpoint{URL: f.server, CAPEM: ca}
	}
	return o, nil
}

// command is what stands in the headers of files.
func (f *generateManifestsFlags) command() string {
	return "capiam generate manifests -f " + f.file + " -o " + f.dir
}
