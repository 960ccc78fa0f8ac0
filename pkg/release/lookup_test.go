package release

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func builtin(t testing.TB) *Manifest {
	t.Helper()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEverySupportedVersion holds the built-in manifest to what users are
// promised: every version, from EKS Distro what it publishes, from capiam all.
func TestEverySupportedVersion(t *testing.T) {
	t.Parallel()
	m := builtin(t)
	want := []string{"1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36"}
	if got := m.KubeVersions(); !slices.Equal(got, want) {
		t.Fatalf("Kubernetes versions %v, want %v", got, want)
	}
	platforms := map[string][]string{
		ClientAuthenticator: {"darwin/amd64", "linux/amd64", "linux/arm64", "windows/amd64"},
		ClientCapiam:        {"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"},
	}
	for _, v := range want {
		for client, want := range platforms {
			assets, err := m.ClientAssets(client, v)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range assets {
				got = append(got, a.Platform())
				if a.Version == "" || a.Release == "" || a.KubeVersion != v || a.Client != client {
					t.Errorf("%s for %s: incomplete: %+v", client, v, a)
				}
				if a.Trust == "derived" && a.ChecksumKnown() {
					t.Errorf("%s: has a checksum, but its document says that none is known", a.URI)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s for %s: platforms %v, want %v", client, v, got, want)
			}
		}
		image, err := m.AuthenticatorImage(v)
		if suffix := "-eks-" + strings.ReplaceAll(v, ".", "-") + "-"; err != nil || !strings.Contains(image.URI, suffix) {
			t.Errorf("image for %s: %+v, %v; want a tag with %s", v, image, err, suffix)
		}
		if image, err := m.CapiamImage(v); err != nil || !strings.Contains(image.URI, "/capiam-authenticator:") {
			t.Errorf("capiam's image for %s: %+v, %v", v, image, err)
		}
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	m := builtin(t)
	for _, version := range []string{"1.32", "v1.32", "1.32.9", "v1.32.9-eks-1-32-40"} {
		a, err := m.Client(version, "linux", "arm64")
		if err != nil {
			t.Fatal(err)
		}
		if a.KubeVersion != "1.32" || !strings.HasSuffix(a.URI, "aws-iam-authenticator-linux-arm64-"+a.Version+".tar.gz") {
			t.Errorf("for %s: %+v", version, a)
		}
	}
}

func TestClientUnknown(t *testing.T) {
	t.Parallel()
	m := builtin(t)
	for name, test := range map[string]struct {
		client, version, os, arch string
		want                      []string
	}{
		"version":  {ClientAuthenticator, "1.29", "linux", "amd64", []string{`"1.29"`, "1.30, 1.31"}},
		"os":       {ClientAuthenticator, "1.36", "plan9", "amd64", []string{"plan9/amd64", "linux/amd64", "windows/amd64"}},
		"arch":     {ClientAuthenticator, "1.36", "darwin", "arm64", []string{"darwin/arm64", "darwin/amd64", "the client capiam is there"}},
		"our arch": {ClientCapiam, "1.36", "linux", "riscv64", []string{"linux/riscv64", "darwin/arm64"}},
		"client":   {"kubectl", "1.36", "linux", "amd64", []string{"kubectl", "aws-iam-authenticator, capiam"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := m.ClientNamed(test.client, test.version, test.os, test.arch)
			var unknown *UnknownError
			if !errors.As(err, &unknown) {
				t.Fatalf("error %v, want an UnknownError", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestParseKubeVersion(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"1.36": "1.36", "v1.36": "1.36", "1.36.3": "1.36", "v1.30.14-eks-1-30-58": "1.30", "v1.33.1+k3s1": "1.33",
		"": "", "1": "", "1.": "", "36": "", "1.x": "", "2.1": "", "1.036": "", "1.36.": "", "1.36 ": "", "1.-3": "", "../1.36": "",
	} {
		got, err := ParseKubeVersion(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseKubeVersion(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestKubeVersionsAreOrdered(t *testing.T) {
	t.Parallel()
	versions := []string{"1.10", "1.9", "1.36", "1.100"}
	slices.SortFunc(versions, CompareKubeVersions)
	if want := []string{"1.9", "1.10", "1.36", "1.100"}; !slices.Equal(versions, want) {
		t.Errorf("got %v, want %v", versions, want)
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	i := Image{URI: "public.ecr.aws/eks-distro/x:v1"}
	if got := i.Reference(); got != i.URI {
		t.Errorf("reference %q, want the tag alone", got)
	}
	i.Digest = "sha256:" + strings.Repeat("0", 64)
	i = i.Mirrored("mirror.example.com:5000/cache/")
	if want := "mirror.example.com:5000/cache/eks-distro/x:v1@" + i.Digest; i.Reference() != want {
		t.Errorf("reference %q, want %q", i.Reference(), want)
	}
}

func TestInstallHint(t *testing.T) {
	t.Parallel()
	hint, err := builtin(t).InstallHint(ClientAuthenticator, "1.36", "linux", "amd64")
	if err != nil || !strings.Contains(hint, "https://distro.eks.amazonaws.com/") || !strings.Contains(hint, "capiam install client") {
		t.Errorf("hint %q, %v", hint, err)
	}
}
