package manifest

import (
	"os"
	"path/filepath"

	"github.com/capiam/capiam/pkg/release"
)

// Platform is an operating system and an architecture, by Go's names.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms are those that capiam's own programs are built for.
func Platforms() []Platform {
	return []Platform{
		{"darwin", "amd64"}, {"darwin", "arm64"},
		{"linux", "amd64"}, {"linux", "arm64"},
		{"windows", "amd64"}, {"windows", "arm64"},
	}
}

// ArchiveName is the file name of a program's archive, in EKS Distro's pattern:
// capiam-linux-amd64-v0.1.0.tar.gz. On Windows it is a zip.
func ArchiveName(program, version string, p Platform) string {
	ext := ".tar.gz"
	if p.OS == "windows" {
		ext = ".zip"
	}
	return program + "-" + p.OS + "-" + p.Arch + "-" + version + ext
}

// Programs lists capiam's own programs, of which the controller counts only if
// the source tree has it.
func Programs(tree string) []string {
	programs := []string{release.ClientCapiam, release.ServerCapiam}
	if _, err := os.Stat(filepath.Join(tree, "cmd", release.ControllerCapiam, "main.go")); err == nil {
		programs = append(programs, release.ControllerCapiam)
	}
	return programs
}
