// Package version says which build of capiam a program is. The release build
// sets it; any other build is a development build.
//
// It imports nothing of capiam's, so that every program can use it.
package version

import (
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X github.com/capiam/capiam/pkg/version.version=v0.1.0.
var (
	version = "v0.0.0-dev"
	commit  = ""
)

// Info describes a build.
type Info struct {
	// Version is the release, "v0.1.0", or "v0.0.0-dev".
	Version string `json:"version"`
	// Commit is the commit it was built from, empty if that is not known.
	Commit string `json:"commit,omitempty"`
	// GoVersion is the toolchain's, "go1.26.8".
	GoVersion string `json:"goVersion"`
	// Platform is what it was built for, "linux/amd64".
	Platform string `json:"platform"`
}

// Get describes the running program.
func Get() Info {
	info := Info{
		Version:   version,
		Commit:    commit,
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info.Commit != "" {
		return info
	}
	// A build in a checkout, by plain go build, knows its commit.
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				info.Commit = s.Value
			}
		}
	}
	return info
}
