// Package build compiles capiam's programs for every platform and packs them,
// so that the same sources give the same bytes whoever builds them and wherever.
//
// What makes a build reproducible: no paths (-trimpath), no version control
// stamp, no build ID, no C, the instruction set level fixed, and nothing of the
// caller's environment that changes what the Go command does. The toolchain's
// version is part of the result; go.mod names it.
package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/capiam/capiam/release/internal/manifest"
)

// Builder compiles programs of one source tree.
type Builder struct {
	// Source is the root of the Go module.
	Source string
	// Version and Commit are built in.
	Version, Commit string
	// Overlay replaces source files by others, both absolute paths.
	Overlay map[string]string
	// Log gets what the Go command prints.
	Log io.Writer
}

// Package is the import path of the package with a build's version.
const versionPackage = "github.com/capiam/capiam/pkg/version"

// Program compiles ./cmd/<program> for a platform into a file.
func (b *Builder) Program(ctx context.Context, program string, p manifest.Platform, out string) error {
	return b.compile(ctx, "./cmd/"+program, p, out)
}

func (b *Builder) compile(ctx context.Context, pkg string, p manifest.Platform, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", "-s -w -buildid= -X " + versionPackage + ".version=" + b.Version + " -X " + versionPackage + ".commit=" + b.Commit}
	if len(b.Overlay) > 0 {
		file, err := b.overlayFile()
		if err != nil {
			return fmt.Errorf("build %s: %w", pkg, err)
		}
		defer os.Remove(file)
		args = append(args, "-overlay", file)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", out, pkg)...)
	cmd.Dir = b.Source
	cmd.Env = environment(p)
	cmd.Stdout, cmd.Stderr = b.Log, b.Log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w", pkg, p, err)
	}
	return nil
}

// environment is the caller's without what would change the result.
func environment(p manifest.Platform) []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "GOFLAGS", "GOOS", "GOARCH", "GOEXPERIMENT", "GOFIPS140", "GOWORK", "CGO_ENABLED", "PWD":
			continue
		}
		// GOAMD64, GOARM64 and their like choose instructions.
		if strings.HasPrefix(name, "GOAMD") || strings.HasPrefix(name, "GOARM") {
			continue
		}
		env = append(env, pair)
	}
	return append(env, "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "CGO_ENABLED=0",
		"GOOS="+p.OS, "GOARCH="+p.Arch, "GOAMD64=v1", "GOARM64=v8.0")
}

func (b *Builder) overlayFile() (string, error) {
	f, err := os.CreateTemp("", "capiam-overlay-*.json")
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.Name(), writeJSON(f, map[string]any{"Replace": b.Overlay})
}
