package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
)

// clientList is what `capiam get client --all` prints for other programs.
type clientList struct {
	Items []release.Asset `json:"items"`
}

func newGetClientCommand(s streams) *cobra.Command {
	var (
		flags  clientFlags
		output string
		all    bool
	)
	cmd := &cobra.Command{
		Use:     "client",
		Aliases: []string{"clients"},
		Short:   "Show where the client for a cluster is, and its checksum",
		Long: `Show which client program logs in to a cluster of a Kubernetes version, from where
it is downloaded, and its checksum, as the release manifest has them.

Where the manifest knows no checksum, the one that the publisher puts beside the
archive is used when it is installed ("at download" in the table).`,
		Example: `  # For this machine and the kubeconfig's cluster
  capiam get client

  # For another machine
  capiam get client --kube-version 1.32 --os windows --arch amd64

  # For a script
  curl -LO "$(capiam get client --kube-version 1.32 -o uri)"

  # Everything there is for a version
  capiam get client --kube-version 1.32 --all`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, version, err := flags.manifest(cmd.Context(), s.err, &release.Downloader{})
			if err != nil {
				return err
			}
			assets, err := flags.assets(m, version, all)
			if err != nil {
				return err
			}
			return printClients(s.out, output, assets, all)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, yaml or uri")
	cmd.Flags().BoolVarP(&all, "all", "A", false, "show the archives for all platforms")
	completeFlag(cmd, "output", "table", "json", "yaml", "uri")
	cmd.MarkFlagsMutuallyExclusive("all", "os")
	cmd.MarkFlagsMutuallyExclusive("all", "arch")
	return cmd
}

// assets are those the flags ask for, one unless all are wanted.
func (f *clientFlags) assets(m *release.Manifest, version string, all bool) ([]release.Asset, error) {
	if all {
		return m.ClientAssets(f.client, version)
	}
	a, err := m.ClientNamed(f.client, version, f.os, f.arch)
	return []release.Asset{a}, err
}

func printClients(w io.Writer, output string, assets []release.Asset, all bool) error {
	switch output {
	case "uri":
		for _, a := range assets {
			fmt.Fprintln(w, a.URI)
		}
		return nil
	case "table":
		table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintln(table, "CLIENT\tVERSION\tKUBERNETES\tPLATFORM\tSHA256\tURI")
		for _, a := range assets {
			sum := a.SHA256
			if !a.ChecksumKnown() {
				sum = "at download"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Client, a.Version, a.KubeVersion, a.Platform(), sum, a.URI)
		}
		return table.Flush()
	}
	if all {
		return printStructured(w, output, clientList{Items: assets})
	}
	return printStructured(w, output, assets[0])
}
