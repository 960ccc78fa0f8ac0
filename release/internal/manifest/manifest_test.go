package manifest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/release"
)

const (
	tree       = "../../.."
	releaseDir = "../.."
)

func sources(t *testing.T) Sources {
	t.Helper()
	s, err := Load(filepath.Join(releaseDir, "sources"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUpToDate is CI's check that nobody edited a generated file.
func TestUpToDate(t *testing.T) {
	t.Parallel()
	s := sources(t)
	files, err := Generate(s, s.PublishedOwn(), Programs(tree))
	if err != nil {
		t.Fatal(err)
	}
	stale, err := Stale(releaseDir, files)
	if err != nil {
		t.Fatal(err)
	}
	if len(stale) > 0 {
		t.Errorf("%v: not up to date: run make release-manifest", stale)
	}
}

// TestSmall keeps the manifest from growing with what it need not hold: every
// start of the command line pays for it.
func TestSmall(t *testing.T) {
	t.Parallel()
	s := sources(t)
	files, err := Generate(s, s.PublishedOwn(), Programs(tree))
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, data := range files {
		size += len(data)
	}
	if size > 64<<10 {
		t.Errorf("the manifest takes %d bytes, want at most 64 KiB", size)
	}
}

// older are releases whose checksums are known.
func older(t *testing.T) Sources {
	t.Helper()
	data, err := os.ReadFile("testdata/eksd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := Sources{Release: Release{
		Number:       3,
		KubeVersions: map[string]string{"1.21": "kubernetes-1-21-eks-4"},
		Capiam:       Capiam{Version: "v0.2.0", BaseURL: "https://dl.example.com/capiam", ImageRepository: "registry.example.com/capiam"},
	}}
	if err := yaml.UnmarshalStrict(data, &s.EKSD); err != nil {
		t.Fatal(err)
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	return s
}

// load reads generated files as the command line does.
func load(t *testing.T, files map[string][]byte) *release.Manifest {
	t.Helper()
	if err := Check(files); err != nil {
		t.Fatal(err)
	}
	m, err := release.LoadFS(memory(files))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestChecksumsAreCarried generates from releases whose checksums are known.
func TestChecksumsAreCarried(t *testing.T) {
	t.Parallel()
	s := older(t)
	digest := "sha256:" + strings.Repeat("d", 64)
	name := ArchiveName("capiam", "v0.2.0", Platform{"windows", "arm64"})
	own := Own{
		Digests: map[string]string{"capiam-authenticator": digest},
		SHA256:  map[string]string{name: strings.Repeat("a", 64)},
	}
	files, err := Generate(s, own, []string{"capiam", "capiam-authenticator"})
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, files)
	a, err := m.Client("1.21", "linux", "arm64")
	if err != nil || a.SHA256 != "3084dc06b3c0a7f4295a712a3a80ab6014e666c92c57459145ec91f624951537" || len(a.SHA512) != 128 || a.Trust != TrustFixture {
		t.Errorf("client %+v, %v", a, err)
	}
	a, err = m.ClientNamed("capiam", "1.21", "windows", "arm64")
	if err != nil || a.URI != "https://dl.example.com/capiam/v0.2.0/capiam-windows-arm64-v0.2.0.zip" || a.SHA256 != strings.Repeat("a", 64) {
		t.Errorf("our client %+v, %v", a, err)
	}
	if a, err = m.ClientNamed("capiam", "1.21", "linux", "arm64"); err != nil || a.ChecksumKnown() {
		t.Errorf("a checksum out of nowhere: %+v, %v", a, err)
	}
	image, err := m.CapiamImage("1.21")
	if want := "registry.example.com/capiam/capiam-authenticator:v0.2.0@" + digest; err != nil || image.Reference() != want {
		t.Errorf("image %s, %v; want %s", image.Reference(), err, want)
	}
}

func TestCheckRefusesSources(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(*Sources)
		want   string
	}{
		"unknown release": {func(s *Sources) { s.Release.KubeVersions["1.22"] = "kubernetes-1-22-eks-1" }, "does not have"},
		"wrong version":   {func(s *Sources) { s.Release.KubeVersions["1.22"] = "kubernetes-1-21-eks-4" }, "which is for 1.21"},
		"twice":           {func(s *Sources) { s.EKSD.Releases = append(s.EKSD.Releases, s.EKSD.Releases[0]) }, "there twice"},
		"unknown trust":   {func(s *Sources) { s.EKSD.Releases[0].Trust = "hearsay" }, "want one of"},
		"checksum out of nowhere": {func(s *Sources) {
			s.EKSD.Releases[0].Trust = TrustDerived
		}, "no document it could come from"},
	} {
		s := older(t)
		s.Release.KubeVersions = maps.Clone(s.Release.KubeVersions)
		s.EKSD.Releases = slices.Clone(s.EKSD.Releases)
		test.damage(&s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestCheckRefusesBadAssets(t *testing.T) {
	t.Parallel()
	s := older(t)
	for i := range s.EKSD.Releases {
		s.EKSD.Releases[i].Image = "eks-distro/aws-iam-authenticator"
	}
	files, err := Generate(s, Own{}, []string{"capiam", "capiam-authenticator"})
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(files); err == nil || !strings.Contains(err.Error(), "registry/repository:tag") {
		t.Errorf("error %v", err)
	}
}

// TestRefresh reads what a publisher says, here a mirror on loopback with the
// documents that the older sources make.
func TestRefresh(t *testing.T) {
	t.Parallel()
	publisher, err := Generate(older(t), Own{}, []string{"capiam", "capiam-authenticator"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := publisher["eks-d/"+path.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	defer server.Close()

	// What is known now: the release of 1.21 has no checksums.
	dir := t.TempDir()
	s := older(t)
	s.EKSD.Releases = nil
	s.Release.KubeVersions = map[string]string{"1.21": "kubernetes-1-21-eks-1"}
	write(t, filepath.Join(dir, EKSDFile), "# head\n# of the file\nreleases: []\n")
	write(t, filepath.Join(dir, ReleaseFile), "number: 3 # kept\nkubeVersions:\n  \"1.21\": kubernetes-1-21-eks-1\ncapiam: {}\n")
	if err := s.Pin("kubernetes-1-21-eks-4"); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(t.Context(), &release.Downloader{Mirror: server.URL}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := got.EKSD.release("kubernetes-1-21-eks-4")
	if r.Trust != TrustPublisher || len(r.Archives) != 4 || len(r.Archives[0].SHA512) != 128 || r.Version != "v0.5.2" {
		t.Errorf("refreshed: %+v", r)
	}
	if want := older(t).EKSD.release(r.Name); !slices.Equal(r.Archives, want.Archives) || r.Image != want.Image || r.ManifestURL != want.ManifestURL {
		t.Errorf("refreshed %+v, want %+v", r, want)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, EKSDFile)); !strings.HasPrefix(string(data), "# head\n# of the file\nreleases:\n") {
		t.Errorf("comments are lost:\n%s", data)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, ReleaseFile)); !strings.Contains(string(data), "# kept") {
		t.Errorf("comments are lost:\n%s", data)
	}
	if err := s.Pin("kubernetes-1-21-eks-5"); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(t.Context(), &release.Downloader{Mirror: server.URL}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a release that is not published: %v", err)
	}
	for _, bad := range []string{"", "kubernetes-1-36", "1-36-eks-2", "kubernetes-x-eks-1"} {
		if err := s.Pin(bad); err == nil {
			t.Errorf("Pin(%q): accepted", bad)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := Generate(older(t), Own{}, []string{"capiam", "capiam-authenticator"})
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := Write(dir, files); err != nil || len(changed) != len(files) {
		t.Errorf("changed %v, %v", changed, err)
	}
	if changed, err := Write(dir, files); err != nil || len(changed) != 0 {
		t.Errorf("second time: changed %v, %v", changed, err)
	}
	write(t, filepath.Join(dir, "eks-d", "old.yaml"), "x")
	write(t, filepath.Join(dir, "bundles.yaml"), "edited")
	if stale, err := Stale(dir, files); err != nil || !slices.Equal(stale, []string{"bundles.yaml", "eks-d/old.yaml"}) {
		t.Errorf("stale %v, %v", stale, err)
	}
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	if stale, err := Stale(dir, files); err != nil || len(stale) != 0 {
		t.Errorf("stale %v, %v", stale, err)
	}
}
