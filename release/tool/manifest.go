package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/release/internal/manifest"
)

func newManifestCommand() *cobra.Command {
	var (
		dir, mirror    string
		check, refresh bool
		pins           []string
	)
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Generate the embedded manifest from its sources",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources, err := manifest.Load(filepath.Join(dir, "sources"))
			if err != nil {
				return err
			}
			if len(pins) > 0 && !refresh {
				return errors.New("--pin needs --refresh: of a release that was not read nothing is known")
			}
			for _, name := range pins {
				if err := sources.Pin(name); err != nil {
					return err
				}
			}
			if refresh {
				if err := sources.Refresh(cmd.Context(), &release.Downloader{Mirror: mirror}); err != nil {
					return err
				}
			}
			files, err := manifest.Generate(sources, sources.PublishedOwn(), manifest.Programs(filepath.Join(dir, "..")))
			if err != nil {
				return err
			}
			if err := manifest.Check(files); err != nil {
				return err
			}
			if check {
				return checkUpToDate(dir, files)
			}
			if refresh {
				if err := sources.Save(filepath.Join(dir, "sources")); err != nil {
					return err
				}
			}
			return writeManifest(cmd.OutOrStdout(), dir, files)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "release", "the directory of the manifest's files")
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and fail if a file is not up to date")
	cmd.Flags().BoolVar(&refresh, "refresh", false, "read the publisher's Release documents first")
	cmd.Flags().StringSliceVar(&pins, "pin", nil, "with --refresh: name the EKS Distro release for its Kubernetes version, such as kubernetes-1-36-eks-6")
	cmd.Flags().StringVar(&mirror, "mirror", "", "with --refresh: read them from a mirror")
	cmd.MarkFlagsMutuallyExclusive("check", "refresh")
	return cmd
}

func checkUpToDate(dir string, files map[string][]byte) error {
	stale, err := manifest.Stale(dir, files)
	if err == nil && len(stale) > 0 {
		err = fmt.Errorf("%s: not up to date: run make release-manifest and commit", strings.Join(stale, ", "))
	}
	return err
}

func writeManifest(w io.Writer, dir string, files map[string][]byte) error {
	changed, err := manifest.Write(dir, files)
	for _, name := range changed {
		fmt.Fprintln(w, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return err
}
