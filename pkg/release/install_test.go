package release

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func newInstaller(t testing.TB) *Installer {
	t.Helper()
	return &Installer{Downloader: impatient(), Dir: t.TempDir(), Receipts: filepath.Join(t.TempDir(), "receipts")}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	i := newInstaller(t)
	i.Dir = filepath.Join(i.Dir, "new", "bin")
	got, err := i.Install(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(i.Dir, ClientAuthenticator)
	if got.Path != path || !got.Changed || got.Checked.SHA256 != sum(p.files[assetPath]) {
		t.Errorf("result %+v", got)
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != fakeClient {
		t.Errorf("installed %q, %v", content, err)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, want 0755", info.Mode().Perm())
	}
	if got := names(t, i.Dir); !slices.Equal(got, []string{ClientAuthenticator}) {
		t.Errorf("directory has %v", got)
	}

	// Again: nothing to do, and nothing is asked of the network.
	before := len(p.seen())
	got, err = i.Install(t.Context(), a)
	if err != nil || got.Changed || got.Checked.SHA256 != sum(p.files[assetPath]) {
		t.Errorf("second run: %+v, %v", got, err)
	}
	if len(p.seen()) != before {
		t.Errorf("second run made requests: %q", p.seen()[before:])
	}

	// Changed by somebody: it is put right.
	if err := os.WriteFile(path, []byte("other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err = i.Install(t.Context(), a); err != nil || !got.Changed {
		t.Errorf("after a change: %+v, %v", got, err)
	}

	// The receipts are lost: one download, and the same file stays.
	i.Receipts = filepath.Join(t.TempDir(), "lost")
	if got, err = i.Install(t.Context(), a); err != nil || got.Changed {
		t.Errorf("without receipts: %+v, %v", got, err)
	}
}

// TestInstallChecksReceiptAgainstManifest does not take a receipt's word for
// an archive of which the manifest knows better.
func TestInstallChecksReceiptAgainstManifest(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	i := newInstaller(t)
	if _, err := i.Install(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a.SHA256 = strings.Repeat("0", 64)
	var wrong *ChecksumError
	if _, err := i.Install(t.Context(), a); !errors.As(err, &wrong) {
		t.Errorf("error %v after %q, want a ChecksumError", err, p.seen())
	}
}

func TestInstallZipForWindows(t *testing.T) {
	t.Parallel()
	data := zipped(t, []file{{name: "capiam.exe", content: fakeClient}, {name: "LICENSE", content: "x"}})
	p := newPublisher(t, map[string][]byte{"/capiam.zip": data})
	i := newInstaller(t)
	got, err := i.Install(t.Context(), Asset{Client: ClientCapiam, OS: "windows", Arch: "arm64", URI: p.URL + "/capiam.zip", SHA256: sum(data)})
	if err != nil || got.Path != filepath.Join(i.Dir, "capiam.exe") {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestInstallLeavesNothing breaks an installation in every way, over a program
// that is there and in a directory that is not.
func TestInstallLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files  []file
		damage func(p *publisher, a *Asset)
		want   string
	}{
		"wrong checksum": {damage: func(_ *publisher, a *Asset) { a.SHA256 = strings.Repeat("0", 64) }, want: "wrong checksum, so nothing was unpacked"},
		"truncated":      {damage: func(p *publisher, _ *Asset) { p.cut[assetPath] = []int{9, 9, 9, 9, 9, 9, 9, 9, 9, 9} }, want: "the connection ended early"},
		"not there":      {damage: func(p *publisher, _ *Asset) { delete(p.files, assetPath) }, want: "404"},
		"no network":     {damage: func(p *publisher, _ *Asset) { p.Close() }, want: "connection refused"},
		"path escape":    {files: append([]file{{name: "../x", content: "y"}}, asPublished...), want: "cannot be unpacked"},
		"not in it":      {files: []file{{name: "x", content: "y"}}, want: "it has no aws-iam-authenticator"},
		"a bomb":         {files: []file{{name: ClientAuthenticator, content: strings.Repeat("\x00", 4<<20)}}, want: "unpacks to more than"},
		"not archive":    {damage: func(p *publisher, a *Asset) { p.files[assetPath] = []byte("text"); a.SHA256 = sum([]byte("text")) }, want: "neither a tar.gz nor a zip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := published(t)
			if test.files != nil {
				p.files[assetPath] = tarGz(t, test.files)
				a.SHA256 = sum(p.files[assetPath])
			}
			if test.damage != nil {
				test.damage(p, &a)
			}
			i := newInstaller(t)
			i.Downloader.Limits = Limits{Download: 1 << 20, Unpacked: 1 << 20, Entries: 100}
			old := filepath.Join(i.Dir, ClientAuthenticator)
			if err := os.WriteFile(old, []byte("old"), 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := i.Install(t.Context(), a)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if data, _ := os.ReadFile(old); string(data) != "old" {
				t.Errorf("the old program is now %q", data)
			}
			if got := names(t, i.Dir); len(got) != 1 {
				t.Errorf("left %v", got)
			}
			parent := t.TempDir()
			i.Dir = filepath.Join(parent, "a", "b")
			if _, err := i.Install(t.Context(), a); err == nil {
				t.Error("accepted")
			}
			if got := names(t, parent); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			if _, err := os.Stat(i.Receipts); err == nil {
				t.Errorf("left receipts %v", names(t, i.Receipts))
			}
		})
	}
}

func TestInstallCancelled(t *testing.T) {
	t.Parallel()
	_, a := published(t)
	i := newInstaller(t)
	ctx, cancel := context.WithCancel(t.Context())
	i.Downloader.Progress = func(int64, int64) { cancel() }
	a.SHA256 = strings.Repeat("0", 64)
	if _, err := i.Install(ctx, a); err == nil {
		t.Fatal("accepted")
	}
	if got := names(t, i.Dir); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

// TestInstallIntoBadPlaces finds each out before it downloads anything.
func TestInstallIntoBadPlaces(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	readOnly := filepath.Join(parent, "read-only")
	if err := os.Mkdir(readOnly, 0o555); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(parent, "taken")
	if err := os.MkdirAll(filepath.Join(taken, ClientAuthenticator), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ dir, want string }{
		"read-only":       {readOnly, "cannot write to"},
		"a file":          {file, "not a directory"},
		"below a file":    {filepath.Join(file, "bin"), "not a directory"},
		"program is dir":  {taken, "is a directory"},
		"below read-only": {filepath.Join(readOnly, "bin"), "permission denied"},
		// Not even root can make a file in it.
		"proc": {"/proc", "cannot write to /proc, choose another directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "read-only") && (os.Getuid() == 0 || runtime.GOOS == "windows") {
				t.Skip("this user may write anywhere")
			}
			if test.dir == "/proc" && runtime.GOOS != "linux" {
				t.Skip("only linux has /proc")
			}
			p, a := published(t)
			i := newInstaller(t)
			i.Dir = test.dir
			_, err := i.Install(t.Context(), a)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if got := p.seen(); len(got) != 0 {
				t.Errorf("requests %q", got)
			}
		})
	}
}

// TestInstallReplacesLink puts a file where a link was, and leaves what the
// link pointed to alone.
func TestInstallReplacesLink(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on windows")
	}
	_, a := published(t)
	i := newInstaller(t)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(i.Dir, ClientAuthenticator)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Install(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(target); string(data) != "precious" {
		t.Errorf("the link's target is now %q", data)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
}
