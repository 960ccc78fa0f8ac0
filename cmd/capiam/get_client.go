package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
)

// outputURI is the form of `capiam get client` for shell scripts.
const outputURI = "uri"

// clientList is what `capiam get client --all` prints for other programs.
type clientList struct {
	Items []release.Asset `json:"items"`
}

func newGetClientCommand(s streams) *cobra.Command {
	var (
		flags  clientFlags
		output outputFlag
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
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil && output.form != outputURI {
				return fmt.Errorf("--output %q: want table, json, yaml or uri", output.form)
			}
			m, version, err := flags.manifest(cmd.Context(), s.err, &release.Downloader{})
			if err != nil {
				return err
			}
			assets, err := flags.assets(m, version, all)
			if err != nil {
				return err
			}
			return printClients(s.out, &output, assets, all)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&output.form, "output", "o", outputTable, "table, json, yaml or uri")
	cmd.Flags().BoolVarP(&all, "all", "A", false, "show the archives for all platforms")
	completeFlag(cmd, "output", outputTable, outputJSON, outputYAML, outputURI)
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

func printClients(w io.Writer, output *outputFlag, assets []release.Asset, all bool) error {
	if output.form == outputURI {
		for _, a := range assets {
			fmt.Fprintln(w, a.URI)
		}
		return nil
	}
	var value any = clientList{Items: assets}
	if !all {
		value = assets[0]
	}
	return output.print(w, value, func(w io.Writer) error {
		rows := make([][]string, 0, len(assets))
		for _, a := range assets {
			sum := a.SHA256
			if !a.ChecksumKnown() {
				sum = "at download"
			}
			rows = append(rows, []string{a.Client, a.Version, a.KubeVersion, a.Platform(), sum, a.URI})
		}
		return printTable(w, []string{"CLIENT", "VERSION", "KUBERNETES", "PLATFORM", "SHA256", "URI"}, rows)
	})
}
