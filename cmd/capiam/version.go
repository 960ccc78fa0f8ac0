package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/pkg/version"
)

// versionReport is what `capiam version` prints.
type versionReport struct {
	version.Info
	// Manifest is the number of the release manifest that is built in.
	Manifest     int      `json:"manifest"`
	KubeVersions []string `json:"kubeVersions"`
}

func newVersionCommand(s streams) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the Kubernetes versions it supports",
		Long: `Print which build of capiam this is, the number of the release manifest built into
it, and the Kubernetes versions that manifest has clients and images for.`,
		Example: `  capiam version
  capiam version -o json | jq -r .version`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if err := output.check(); err != nil {
				return err
			}
			m, err := release.Default()
			if err != nil {
				return err
			}
			report := versionReport{Info: version.Get(), Manifest: m.Number(), KubeVersions: m.KubeVersions()}
			return output.print(s.out, report, report.print)
		},
	}
	output.register(cmd)
	return cmd
}

func (r versionReport) print(w io.Writer) error {
	commit := r.Commit
	if commit == "" {
		commit = "unknown"
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"Version:", r.Version},
		{"Commit:", commit},
		{"Release manifest:", strconv.Itoa(r.Manifest)},
		{"Kubernetes:", strings.Join(r.KubeVersions, ", ")},
		{"Built with:", r.GoVersion + " for " + r.Platform},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// completeFlag makes the shell offer values for a flag.
func completeFlag(cmd *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
