package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
)

// Checked says how a file was found to be the right one.
type Checked struct {
	// SHA256 is the file's own, in hexadecimal.
	SHA256 string `json:"sha256"`
	// By is where the expected checksum came from: ByManifest, or the URL of
	// the checksum file that lies beside the archive.
	By string `json:"by"`
}

// ByManifest says that the release manifest itself had the checksum.
const ByManifest = "release manifest"

func (c Checked) String() string {
	if c.By == ByManifest {
		return "sha256:" + c.SHA256 + ", as the release manifest says"
	}
	return "sha256:" + c.SHA256 + ", as " + c.By + " says (the release manifest has no checksum for it)"
}

// ChecksumError says that what was downloaded is not what was published.
type ChecksumError struct {
	// URI is where the file came from, and By where the checksum.
	URI, By         string
	Algorithm       string
	Expected, Found string
}

func (e *ChecksumError) Error() string {
	by := e.By
	if by == ByManifest {
		by = "the release manifest"
	}
	return fmt.Sprintf("%s has the wrong checksum, so nothing was unpacked: %s is %s, but %s says %s",
		e.URI, e.Algorithm, e.Found, by, e.Expected)
}

// expected is the checksum a download must have.
type expected struct {
	sha256, sha512 string
	by             string
}

// expected finds the checksum of an asset: the manifest's, or else the one in
// the file beside the archive.
func (d *Downloader) expected(ctx context.Context, a Asset, uri string) (expected, error) {
	if a.ChecksumKnown() {
		return expected{sha256: a.SHA256, sha512: a.SHA512, by: ByManifest}, nil
	}
	u, err := url.Parse(uri)
	if err != nil {
		return expected{}, err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return expected{}, fmt.Errorf("%s: the release manifest has no checksum for it, and over plain http nothing else can vouch for it: use an https mirror", u.Redacted())
	}
	name := path.Base(u.Path)
	u.Path, u.RawPath = u.Path+".sha256", ""
	beside := *d
	beside.Progress = nil
	var text buffer
	if err := beside.get(ctx, u.String(), 64<<10, &text); err != nil {
		return expected{}, fmt.Errorf("the release manifest has no checksum for %s, and the one its publisher puts beside it cannot be read: %w", name, err)
	}
	sum, err := parseChecksumFile(text.Bytes(), name)
	if err != nil {
		return expected{}, fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	return expected{sha256: sum, by: u.Redacted()}, nil
}

// parseChecksumFile finds a file's checksum in the output of sha256sum, or in a
// file that holds nothing but the checksum.
func parseChecksumFile(data []byte, name string) (string, error) {
	lines := strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' || r == '\r' })
	for _, line := range lines {
		sum, file, named := strings.Cut(strings.TrimSpace(line), " ")
		file = path.Base(strings.TrimPrefix(strings.TrimSpace(file), "*"))
		if named && file != name {
			continue
		}
		if !named && len(lines) != 1 {
			continue
		}
		raw, err := hex.DecodeString(sum)
		if err != nil || len(raw) != sha256.Size {
			return "", fmt.Errorf("is not a checksum file: want 64 hexadecimal digits and %s", name)
		}
		return strings.ToLower(sum), nil
	}
	return "", fmt.Errorf("has no checksum of %s", name)
}

// check compares a whole file with what is expected.
func (e expected) check(uri string, file io.Reader) (Checked, error) {
	short, long := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(short, long), file); err != nil {
		return Checked{}, err
	}
	found256, found512 := hex.EncodeToString(short.Sum(nil)), hex.EncodeToString(long.Sum(nil))
	bad := &ChecksumError{URI: redacted(uri), By: e.by}
	switch {
	case e.sha256 != "" && e.sha256 != found256:
		bad.Algorithm, bad.Expected, bad.Found = "sha256", e.sha256, found256
		return Checked{}, bad
	case e.sha512 != "" && e.sha512 != found512:
		bad.Algorithm, bad.Expected, bad.Found = "sha512", e.sha512, found512
		return Checked{}, bad
	case e.sha256 == "" && e.sha512 == "":
		return Checked{}, fmt.Errorf("%s: no checksum to compare with", redacted(uri))
	}
	return Checked{SHA256: found256, By: e.by}, nil
}

// buffer is a sink in memory.
type buffer struct{ bytes.Buffer }

func (b *buffer) Reset() error {
	b.Buffer.Reset()
	return nil
}
