package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/release"
)

func newInstallClientCommand(s streams) *cobra.Command {
	var (
		flags      clientFlags
		to, mirror string
	)
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Download the client for a cluster, check it and install it",
		Long: `Download the client program that logs in to a cluster, check it, and put it into a
directory. Running it again changes nothing and downloads nothing.

The archive's checksum is compared before anything is unpacked: with the release
manifest's, or, where that has none, with the one the publisher puts beside the
archive; a line says which of the two it was. A download that breaks off goes on
where it stopped. The program replaces an older one in one step, and whatever goes
wrong nothing is left behind.

HTTPS_PROXY, HTTP_PROXY and NO_PROXY are respected. With --mirror the archive and
the checksum beside it come from <mirror>/<path of the original URL>.

The program's path goes to standard output, everything else to standard error.`,
		Example: `  # For this machine and the kubeconfig's cluster, into ~/.local/bin
  capiam install client

  # Another version, into another directory
  capiam install client --kube-version 1.32 --to /usr/local/bin

  # From a private mirror
  capiam install client --mirror https://mirror.example.com/eks-distro

  # capiam itself as the client, for a platform EKS Distro has no client for
  capiam install client --client capiam --os darwin --arch arm64 --to ./bin`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mirror != "" {
				if err := release.CheckMirror(mirror); err != nil {
					return err
				}
			}
			dir, err := flags.installDir(to)
			if err != nil {
				return err
			}
			report := newProgress(s.err)
			installer := release.Installer{
				Dir:      dir,
				Receipts: receiptsDir(),
				Downloader: release.Downloader{
					Mirror:   mirror,
					Progress: report.bytes,
					Retrying: report.retrying,
				},
			}
			m, version, err := flags.manifest(cmd.Context(), s.err, &installer.Downloader)
			if err != nil {
				return err
			}
			a, err := m.ClientNamed(flags.client, version, flags.os, flags.arch)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.err, "► %s %s for %s, Kubernetes %s\n", a.Client, a.Version, a.Platform(), a.KubeVersion)
			result, err := installer.Install(cmd.Context(), a)
			report.end()
			if err != nil {
				return err
			}
			fmt.Fprintf(s.err, "✔ checksum %s\n", result.Checked)
			if result.Changed {
				fmt.Fprintf(s.err, "✔ installed %s\n", result.Path)
			} else {
				fmt.Fprintf(s.err, "✔ %s is this version already\n", result.Path)
			}
			if flags.forThisMachine() && !inPath(dir) {
				fmt.Fprintf(s.err, "► %s is not in your PATH: add it, so that kubectl finds %s\n", dir, a.Client)
			}
			fmt.Fprintln(s.out, result.Path)
			return nil
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the directory to install into (default: "+defaultInstallDirText()+")")
	cmd.Flags().StringVar(&mirror, "mirror", "", "a URL to download from instead of the publisher's scheme and host")
	_ = cmd.MarkFlagDirname("to")
	return cmd
}

func (f *clientFlags) forThisMachine() bool {
	return f.os == runtime.GOOS && f.arch == runtime.GOARCH
}

// installDir is the directory asked for, or the user's own for programs.
func (f *clientFlags) installDir(to string) (string, error) {
	if to != "" {
		return filepath.Abs(to)
	}
	if !f.forThisMachine() {
		return "", fmt.Errorf("a client for %s/%s is not for this machine: name a directory for it with --to", f.os, f.arch)
	}
	if runtime.GOOS == "windows" {
		if local := os.Getenv("LOCALAPPDATA"); local != "" {
			return filepath.Join(local, "capiam", "bin"), nil
		}
		return "", errors.New("LOCALAPPDATA is not set: name a directory with --to")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory is known: name a directory with --to: %w", err)
	}
	return filepath.Join(home, ".local", "bin"), nil
}

func defaultInstallDirText() string {
	if runtime.GOOS == "windows" {
		return `%LOCALAPPDATA%\capiam\bin`
	}
	return "~/.local/bin"
}

// receiptsDir is where capiam notes what it installed; empty if the user has no
// cache directory, and then every run downloads.
func receiptsDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "capiam", "clients")
}

func inPath(dir string) bool {
	return slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), func(at string) bool {
		return filepath.Clean(at) == dir
	})
}
