package manifest

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
