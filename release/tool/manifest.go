package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/release/internal/manifest"
)

func newManifestCommand() *cobra.Command {
	var dir string
	var check bool
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Generate the embedded manifest from its sources",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources, err := manifest.Load(dir + "/sources")
			if err != nil {
				return err
			}
			files, err := manifest.Generate(sources, manifest.Own{Controller: hasController(dir)})
			if err != nil {
				return err
			}
			if err := manifest.Check(files); err != nil {
				return err
			}
			if check {
				stale, err := manifest.Stale(dir, files)
				if err == nil && len(stale) > 0 {
					err = fmt.Errorf("%s: not up to date: run make release-manifest and commit", strings.Join(stale, ", "))
				}
				return err
			}
			changed, err := manifest.Write(dir, files)
			for _, name := range changed {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "release", "the directory of the manifest's files")
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and fail if a file is not up to date")
	return cmd
}

// hasController tells whether the source tree around release/ has a controller.
func hasController(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "..", "cmd", "capiam-controller", "main.go"))
	return err == nil
}
