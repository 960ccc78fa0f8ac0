package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/release/internal/assemble"
	"github.com/capiam/capiam/release/internal/manifest"
	"github.com/capiam/capiam/release/internal/oci"
)

// releaseFlags are common to release and image.
type releaseFlags struct {
	assemble.Options
	platforms []string
	push      bool
}

func (f *releaseFlags) register(cmd *cobra.Command, out string) {
	flags := cmd.Flags()
	flags.StringVar(&f.Version, "version", "", "the release's version, such as v0.1.0 (required)")
	flags.StringVar(&f.Tree, "tree", ".", "the source tree")
	flags.StringVar(&f.Out, "out", out, "the directory to write to; what it holds is removed")
	flags.StringVar(&f.Commit, "commit", "", "the commit that is built in (default: git's HEAD)")
	flags.StringVar(&f.BaseURL, "base-url", "", "where <version>/<archive> will be published (default: sources/release.yaml's)")
	flags.StringVar(&f.ImageRepository, "image-repository", "", "where images will be published (default: sources/release.yaml's)")
	flags.StringSliceVar(&f.platforms, "platform", nil, "os/arch to build for (default: all six)")
	flags.BoolVar(&f.push, "push", false, "push the images to the image repository")
	_ = cmd.MarkFlagRequired("version")
}

// complete fills in what comes from the environment.
func (f *releaseFlags) complete(ctx context.Context, log io.Writer) error {
	f.Log = log
	if err := assemble.CheckVersion(f.Version); err != nil {
		return err
	}
	for _, s := range f.platforms {
		platforms := manifest.Platforms()
		i := slices.IndexFunc(platforms, func(p manifest.Platform) bool { return p.String() == s })
		if i < 0 {
			return fmt.Errorf("platform %q: want one of %v", s, platforms)
		}
		f.Platforms = append(f.Platforms, platforms[i])
	}
	if f.Commit == "" {
		commit, err := git(ctx, f.Tree, "rev-parse", "HEAD")
		if err != nil {
			return fmt.Errorf("the commit is not known: name it with --commit: %w", err)
		}
		f.Commit = commit
	}
	var err error
	f.Date, err = f.date(ctx)
	return err
}

// date is SOURCE_DATE_EPOCH, the reproducible-builds convention, or else the
// commit's own.
func (f *releaseFlags) date(ctx context.Context) (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		var err error
		if epoch, err = git(ctx, f.Tree, "log", "-1", "--format=%ct", f.Commit); err != nil {
			return time.Time{}, fmt.Errorf("the commit's date is not known: set SOURCE_DATE_EPOCH: %w", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, want seconds since 1970", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("git %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

func (f *releaseFlags) pushImages(ctx context.Context, w io.Writer, r assemble.Result) error {
	for _, reference := range slices.Sorted(maps.Keys(r.Images)) {
		index, err := oci.ReadLayout(filepath.Join(f.Out, r.Images[reference]))
		if err != nil {
			return err
		}
		if !f.push {
			digest, err := index.Digest()
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s@%s\n", reference, digest)
			continue
		}
		pushed, err := oci.Push(ctx, index, reference)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, pushed)
	}
	return nil
}

// run assembles what the command makes, pushes its images if asked to, and
// prints its files.
func (f *releaseFlags) run(cmd *cobra.Command, build func(context.Context, assemble.Options) (assemble.Result, error)) (assemble.Result, error) {
	if err := f.complete(cmd.Context(), cmd.ErrOrStderr()); err != nil {
		return assemble.Result{}, err
	}
	result, err := build(cmd.Context(), f.Options)
	if err != nil {
		return result, err
	}
	if err := f.pushImages(cmd.Context(), cmd.OutOrStdout(), result); err != nil {
		return result, err
	}
	for _, name := range result.Files {
		fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(f.Out, name))
	}
	return result, nil
}

func newReleaseCommand() *cobra.Command {
	var (
		flags  releaseFlags
		record bool
	)
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Make a release: archives, images, manifest, SBOM, checksums",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := flags.run(cmd, assemble.Release)
			if err != nil || !record {
				return err
			}
			return recordPublished(cmd.OutOrStdout(), flags.Options, result)
		},
	}
	flags.register(cmd, "dist")
	cmd.Flags().BoolVar(&record, "record", false, "write checksums and digests into the tree's own manifest, to be committed")
	return cmd
}

// recordPublished writes our own entries into the tree's manifest.
func recordPublished(w io.Writer, o assemble.Options, r assemble.Result) error {
	dir := filepath.Join(o.Tree, "release")
	published := manifest.Published{Version: o.Version, Own: r.Own}
	if err := manifest.SavePublished(filepath.Join(dir, "sources"), published); err != nil {
		return err
	}
	sources, err := manifest.Load(filepath.Join(dir, "sources"))
	if err != nil {
		return err
	}
	if sources.Release.Capiam.Version != o.Version {
		return fmt.Errorf("sources/%s names version %s: change it to %s, then run make release-manifest", manifest.ReleaseFile, sources.Release.Capiam.Version, o.Version)
	}
	files, err := manifest.Generate(sources, sources.PublishedOwn(), manifest.Programs(o.Tree))
	if err != nil {
		return err
	}
	return writeManifest(w, dir, files)
}

func newImageCommand() *cobra.Command {
	var flags releaseFlags
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make the container images alone, and push them if asked to",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := flags.run(cmd, assemble.Images)
			return err
		},
	}
	flags.register(cmd, "dist")
	return cmd
}
