package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

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
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the Kubernetes versions it supports",
		Long: `Print which build of capiam this is, the number of the release manifest built into
it, and the Kubernetes versions that manifest has clients and images for.`,
		Example: `  capiam version
  capiam version -o json | jq -r .version`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			m, err := release.Default()
			if err != nil {
				return err
			}
			report := versionReport{Info: version.Get(), Manifest: m.Number(), KubeVersions: m.KubeVersions()}
			if output == "table" {
				return printVersion(s.out, report)
			}
			return printStructured(s.out, output, report)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	completeFlag(cmd, "output", "table", "json", "yaml")
	return cmd
}

func printVersion(w io.Writer, r versionReport) error {
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

// printStructured prints a value for other programs.
func printStructured(w io.Writer, format string, value any) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	case "yaml":
		data, err := yaml.Marshal(value)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	return fmt.Errorf("output %q: want one of the formats that --help names", format)
}

// completeFlag makes the shell offer values for a flag.
func completeFlag(cmd *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
