package release

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/api/release/v1alpha1"
)

// checker collects what is wrong with one document.
type checker struct {
	where string
	errs  []error
}

func (c *checker) add(field, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %s", c.where, field, fmt.Sprintf(format, args...)))
}

func (c *checker) err() error { return errors.Join(c.errs...) }

// checkBundles refuses a Bundles document that a lookup could stumble over, and
// lists all that is wrong.
func checkBundles(where string, b *v1alpha1.Bundles) error {
	c := &checker{where: where + ": Bundles"}
	if b.APIVersion != v1alpha1.BundlesAPIVersion || b.Kind != v1alpha1.BundlesKind {
		c.add("kind", "is %s of %s, want %s of %s", quoteOrNone(b.Kind), quoteOrNone(b.APIVersion), v1alpha1.BundlesKind, v1alpha1.BundlesAPIVersion)
		return c.err()
	}
	if b.Spec.Number < 1 {
		c.add("spec.number", "is %d, want 1 or more", b.Spec.Number)
	}
	if len(b.Spec.VersionsBundles) == 0 {
		c.add("spec.versionsBundles", "is empty")
	}
	seen := map[string]bool{}
	for i, v := range b.Spec.VersionsBundles {
		field := fmt.Sprintf("spec.versionsBundles[%d]", i)
		if minor, err := ParseKubeVersion(v.KubeVersion); err != nil || minor != v.KubeVersion {
			c.add(field+".kubeVersion", "is %q, want a minor version such as 1.36", v.KubeVersion)
		} else if seen[minor] {
			c.add(field+".kubeVersion", "%s is there twice", minor)
		}
		seen[v.KubeVersion] = true
		if !nameRE.MatchString(v.EKSD.Name) {
			c.add(field+".eksD.name", "is %q, want the name of a release, such as kubernetes-1-36-eks-6", v.EKSD.Name)
		}
		if want := strings.ReplaceAll(v.KubeVersion, ".", "-"); v.EKSD.Channel != want {
			c.add(field+".eksD.channel", "is %q, want %q as the Kubernetes version says", v.EKSD.Channel, want)
		}
		c.checkURL(field+".eksD.manifestUrl", v.EKSD.ManifestURL)
		if v.Capiam != nil {
			if !nameRE.MatchString(v.Capiam.Name) {
				c.add(field+".capiam.name", "is %q, want the name of a release", v.Capiam.Name)
			}
			c.checkURL(field+".capiam.manifestUrl", v.Capiam.ManifestURL)
		}
	}
	return c.err()
}

// checkRelease refuses a Release document whose entries for the programs capiam
// uses are not well formed. Other components are not looked at.
func checkRelease(where string, r *v1alpha1.Release) error {
	c := &checker{where: where + ": Release"}
	if r.APIVersion != v1alpha1.ReleaseAPIVersion || r.Kind != v1alpha1.ReleaseKind {
		c.add("kind", "is %s of %s, want %s of %s", quoteOrNone(r.Kind), quoteOrNone(r.APIVersion), v1alpha1.ReleaseKind, v1alpha1.ReleaseAPIVersion)
		return c.err()
	}
	c.where += "/" + r.Name
	ours, seen := 0, map[string]bool{}
	for i, component := range r.Status.Components {
		if !slices.Contains([]string{ClientAuthenticator, ClientCapiam, ServerCapiam, ControllerCapiam}, component.Name) {
			continue
		}
		ours++
		field := fmt.Sprintf("status.components[%d]", i)
		if seen[component.Name] {
			c.add(field+".name", "%s is there twice", component.Name)
		}
		seen[component.Name] = true
		c.checkComponent(field, component)
	}
	if ours == 0 {
		c.add("status.components", "has no %s and nothing of capiam's", ClientAuthenticator)
	}
	return c.err()
}

func (c *checker) checkComponent(field string, component v1alpha1.Component) {
	platforms := map[string]bool{}
	if len(component.Assets) == 0 {
		c.add(field+".assets", "%s has none", component.Name)
	}
	for i, a := range component.Assets {
		field := fmt.Sprintf("%s.assets[%d]", field, i)
		if !slices.Contains([]string{"linux", "darwin", "windows"}, a.OS) {
			c.add(field+".os", "is %q, want linux, darwin or windows", a.OS)
		}
		switch {
		case a.Type == v1alpha1.AssetArchive && a.Archive != nil:
			if len(a.Arch) != 1 || !archRE.MatchString(a.Arch[0]) {
				c.add(field+".arch", "is %q, want one architecture such as amd64", a.Arch)
				continue
			}
			platform := a.OS + "/" + a.Arch[0]
			if platforms[platform] {
				c.add(field, "has a second archive for %s", platform)
			}
			platforms[platform] = true
			c.checkURL(field+".archive.uri", a.Archive.URI)
			c.checkSum(field+".archive.sha256", a.Archive.SHA256, 64)
			c.checkSum(field+".archive.sha512", a.Archive.SHA512, 128)
		case a.Type == v1alpha1.AssetImage && a.Image != nil:
			if !imageRE.MatchString(a.Image.URI) {
				c.add(field+".image.uri", "is %q, want registry/repository:tag", a.Image.URI)
			}
			if d := a.Image.ImageDigest; d != "" && !digestRE.MatchString(d) {
				c.add(field+".image.imageDigest", "is %q, want sha256: and 64 hexadecimal digits", d)
			}
		default:
			c.add(field, "has type %q, want Archive with an archive or Image with an image", a.Type)
		}
	}
}

// The forms of names. A release's name becomes part of a path, so it is kept to
// what Kubernetes allows as the name of an object.
var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,250}[a-z0-9])?$`)
	archRE   = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)
	digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// The registry has a dot, a port or is localhost, as in the reference
	// grammar of the distribution project; without it an image would come
	// from whatever a node's default registry is.
	imageRE = regexp.MustCompile(`^(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+:[0-9]+)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

func (c *checker) checkURL(field, s string) {
	if s == "" {
		c.add(field, "is missing")
		return
	}
	if err := checkURL(s); err != nil {
		c.add(field, "%v", err)
	}
}

// checkURL accepts https, and plain http on loopback, where nobody else can
// change what is on the wire.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return fmt.Errorf("is %q, want an https URL", u.Redacted())
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("is %q, want https: plain http is for loopback only", u.Redacted())
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (c *checker) checkSum(field, sum string, digits int) {
	if sum == "" {
		return
	}
	if _, err := hex.DecodeString(sum); err != nil || len(sum) != digits || sum != strings.ToLower(sum) {
		c.add(field, "is %q, want %d lower-case hexadecimal digits, or nothing if it is not known", sum, digits)
	}
}

func quoteOrNone(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%q", s)
}
