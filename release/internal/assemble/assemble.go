// Package assemble makes a whole release: programs for every platform, archives,
// images, the manifest that names them, an SBOM and checksums.
//
// The order matters. The command line has the manifest built in, and the
// manifest has the digests of the images and the checksums of the archives; so
// the servers and their images come first, then the manifest that knows them,
// then the command line. The command line's own archives cannot be known to the
// manifest inside them. They are in the manifest that is published beside them,
// and a command line of this version finds their checksums there, beside the
// archive, at download.
package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/release/internal/build"
	"github.com/capiam/capiam/release/internal/manifest"
	"github.com/capiam/capiam/release/internal/oci"
	"github.com/capiam/capiam/release/internal/sbom"
)

// Options say what to make.
type Options struct {
	// Tree is the source tree, and Out the directory to write to. What Out
	// holds is removed first.
	Tree, Out string
	// Version is "v0.1.0", Commit the commit the tree is at.
	Version, Commit string
	// Date is the time of everything that has one.
	Date time.Time
	// BaseURL and ImageRepository replace what sources/release.yaml says.
	BaseURL, ImageRepository string
	// Platforms are those of manifest.Platforms if empty.
	Platforms []manifest.Platform
	// Log gets a line for each step.
	Log io.Writer
}

// Result is what was made.
type Result struct {
	// Files are the names of what is to be published, in Options.Out.
	Files []string
	// Images are the directories of OCI layouts in Options.Out, by the
	// reference they are for.
	Images map[string]string
	// Own is what the manifest says of it.
	Own manifest.Own
}

// versionRE is Semantic Versioning with a v.
var versionRE = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// CheckVersion refuses what cannot be a release's version.
func CheckVersion(version string) error {
	if !versionRE.MatchString(version) {
		return fmt.Errorf("version %q: want one such as v0.1.0 or v0.2.0-rc.1", version)
	}
	return nil
}

// assembly is one release in the making.
type assembly struct {
	Options
	sources  manifest.Sources
	programs []string
	result   Result
	contents []sbom.Program
}

// Release makes all of it.
func Release(ctx context.Context, o Options) (Result, error) {
	a, err := begin(o)
	if err != nil {
		return Result{}, err
	}
	servers := a.programs[1:]
	for _, program := range servers {
		if err := a.program(ctx, program, nil); err != nil {
			return Result{}, err
		}
		if err := a.image(program); err != nil {
			return Result{}, err
		}
	}
	overlay, err := a.overlay()
	if err != nil {
		return Result{}, err
	}
	if err := a.program(ctx, a.programs[0], overlay); err != nil {
		return Result{}, err
	}
	if err := a.publish(); err != nil {
		return Result{}, err
	}
	return a.result, nil
}

// Images makes the servers' images alone.
func Images(ctx context.Context, o Options) (Result, error) {
	a, err := begin(o)
	if err != nil {
		return Result{}, err
	}
	a.Platforms = slices.DeleteFunc(slices.Clone(a.Platforms), func(p manifest.Platform) bool { return p.OS != "linux" })
	for _, program := range a.programs[1:] {
		for _, p := range a.Platforms {
			if err := a.compile(ctx, program, p, nil); err != nil {
				return Result{}, err
			}
		}
		if err := a.image(program); err != nil {
			return Result{}, err
		}
	}
	return a.result, os.RemoveAll(filepath.Join(a.Out, buildDir))
}

const (
	// buildDir holds the bare programs while they are packed.
	buildDir = "build"
	// markerFile marks a directory as one that the next run may empty.
	markerFile = ".capiam-release"
)

func begin(o Options) (*assembly, error) {
	if err := CheckVersion(o.Version); err != nil {
		return nil, err
	}
	sources, err := manifest.Load(filepath.Join(o.Tree, "release", "sources"))
	if err != nil {
		return nil, err
	}
	sources.Release.Capiam.Version = o.Version
	if o.BaseURL != "" {
		sources.Release.Capiam.BaseURL = o.BaseURL
	}
	if o.ImageRepository != "" {
		sources.Release.Capiam.ImageRepository = o.ImageRepository
	}
	if len(o.Platforms) == 0 {
		o.Platforms = manifest.Platforms()
	}
	if err := emptyOut(o.Out); err != nil {
		return nil, err
	}
	a := &assembly{Options: o, sources: sources, programs: manifest.Programs(o.Tree)}
	a.result.Images = map[string]string{}
	a.result.Own = manifest.Own{
		Commit: o.Commit, Date: o.Date.UTC().Format(time.RFC3339),
		Digests: map[string]string{}, SHA256: map[string]string{}, SHA512: map[string]string{},
	}
	return a, nil
}

// emptyOut removes what an earlier run wrote, and only that.
func emptyOut(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release: %w", err)
	}
	ours := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == markerFile })
	if len(entries) > 0 && !ours {
		return fmt.Errorf("release: %s is not empty, and nothing in it says that it is a release's: name another directory", out)
	}
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, markerFile), nil, 0o644); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (a *assembly) step(format string, args ...any) {
	fmt.Fprintf(a.Log, "► "+format+"\n", args...)
}

// path is where a bare program is.
func (a *assembly) path(program string, p manifest.Platform) string {
	return filepath.Join(a.Out, buildDir, p.OS+"-"+p.Arch, release.ProgramName(program, p.OS))
}

func (a *assembly) compile(ctx context.Context, program string, p manifest.Platform, overlay map[string]string) error {
	a.step("build %s for %s", program, p)
	b := build.Builder{Source: a.Tree, Version: a.Version, Commit: a.Commit, Overlay: overlay, Log: a.Log}
	return b.Program(ctx, program, p, a.path(program, p))
}

// program builds and packs a program for every platform.
func (a *assembly) program(ctx context.Context, program string, overlay map[string]string) error {
	for _, p := range a.Platforms {
		if err := a.compile(ctx, program, p, overlay); err != nil {
			return err
		}
		name := manifest.ArchiveName(program, a.Version, p)
		path := filepath.Join(a.Out, name)
		if err := build.Archive(path, []build.File{
			{Name: release.ProgramName(program, p.OS), Path: a.path(program, p), Mode: 0o755},
			{Name: "LICENSE", Path: filepath.Join(a.Tree, "LICENSE"), Mode: 0o644},
		}, a.Date); err != nil {
			return err
		}
		sums, err := build.Sum(path)
		if err != nil {
			return err
		}
		a.result.Own.SHA256[name], a.result.Own.SHA512[name] = sums.SHA256, sums.SHA512
		a.result.Files = append(a.result.Files, name)
		a.contents = append(a.contents, sbom.Program{Name: program + "-" + p.OS + "-" + p.Arch, Path: a.path(program, p)})
	}
	return nil
}

// image makes a program's image, as a directory and as files to load.
func (a *assembly) image(program string) error {
	files := map[string]string{}
	for _, p := range a.Platforms {
		if p.OS == "linux" {
			files[p.Arch] = a.path(program, p)
		}
	}
	if len(files) == 0 {
		return nil
	}
	a.step("image %s", program)
	index, err := oci.Index(oci.Options{
		Program: program, Files: files, Version: a.Version, Revision: a.Commit,
		Source: "https://github.com/capiam/capiam", Created: a.Date,
	})
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("image %s: %w", program, err)
	}
	a.result.Own.Digests[program] = digest.String()
	reference := a.sources.Release.Capiam.ImageRepository + "/" + program + ":" + a.Version
	dir := filepath.Join("images", program)
	if err := oci.WriteLayout(filepath.Join(a.Out, dir), index, reference); err != nil {
		return err
	}
	a.result.Images[reference] = dir
	archive := program + "-" + a.Version + ".oci.tar"
	if err := oci.WriteOCIArchive(filepath.Join(a.Out, archive), filepath.Join(a.Out, dir), a.Date); err != nil {
		return err
	}
	a.result.Files = append(a.result.Files, archive)
	for _, arch := range slices.Sorted(maps.Keys(files)) {
		name := program + "-linux-" + arch + "-" + a.Version + ".docker.tar"
		if err := oci.WriteDockerArchive(filepath.Join(a.Out, name), index, arch, reference); err != nil {
			return err
		}
		a.result.Files = append(a.result.Files, name)
	}
	return nil
}

// overlay is the manifest to build into the command line: all that is known but
// the command line itself. It stands for the tree's, whatever that is.
func (a *assembly) overlay() (map[string]string, error) {
	own := a.result.Own
	files, err := a.manifest(own, filepath.Join(a.Out, buildDir, "manifest"))
	if err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	for name, path := range files {
		from, err := filepath.Abs(filepath.Join(a.Tree, "release", filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
		to, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
		overlay[from] = to
	}
	return overlay, nil
}

// manifest generates the manifest's files and writes them to a directory.
func (a *assembly) manifest(own manifest.Own, dir string) (map[string]string, error) {
	files, err := manifest.Generate(a.sources, own, a.programs)
	if err != nil {
		return nil, err
	}
	if err := manifest.Check(files); err != nil {
		return nil, err
	}
	if _, err := manifest.Write(dir, files); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for name := range files {
		paths[name] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return paths, nil
}

// publish adds the manifest, the SBOM and the checksums.
func (a *assembly) publish() error {
	a.step("manifest, SBOM and checksums")
	paths, err := a.manifest(a.result.Own, filepath.Join(a.Out, "manifest"))
	if err != nil {
		return err
	}
	for _, name := range []string{release.BundlesFile, release.CapiamFile} {
		data, err := os.ReadFile(paths[name])
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if err := os.WriteFile(filepath.Join(a.Out, name), data, 0o644); err != nil {
			return fmt.Errorf("release: %w", err)
		}
		a.result.Files = append(a.result.Files, name)
	}
	data, err := sbom.Generate(sbom.Options{Name: "capiam", Version: a.Version, Created: a.Date, Programs: a.contents})
	if err != nil {
		return err
	}
	name := "capiam-" + a.Version + ".spdx.json"
	if err := os.WriteFile(filepath.Join(a.Out, name), data, 0o644); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	a.result.Files = append(a.result.Files, name)
	slices.Sort(a.result.Files)
	if err := build.WriteSums(a.Out, a.result.Files); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(a.Out, buildDir))
}
