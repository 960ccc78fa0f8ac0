package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// publisher is a small honest file server with the faults a test asks for.
type publisher struct {
	*httptest.Server
	mu sync.Mutex
	// files are the contents by path.
	files map[string][]byte
	// cut ends the n-th answer for a path after so many bytes.
	cut map[string][]int
	// status answers the n-th request for a path; 0 means as usual.
	status map[string][]int
	// noRange makes it ignore range requests, noTag leaves the ETag out.
	noRange, noTag bool
	requests       []string
}

func newPublisher(t testing.TB, files map[string][]byte) *publisher {
	t.Helper()
	p := &publisher{files: files, cut: map[string][]int{}, status: map[string][]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := r.URL.Path
	if got := r.Header.Get("Range"); got != "" {
		line += " " + got
	}
	p.requests = append(p.requests, line)
	if code, ok := pop(p.status, r.URL.Path); ok && code != 0 {
		http.Error(w, "as asked", code)
		return
	}
	data, ok := p.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := `"` + sum(data)[:16] + `"`
	if !p.noTag {
		w.Header().Set("ETag", tag)
	}
	first := 0
	if from := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); from != "" && !p.noRange && r.Header.Get("If-Range") == tag {
		fmt.Sscan(from, &first)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(data)-1, len(data)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)-first))
	if first > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	body := data[first:]
	if n, ok := pop(p.cut, r.URL.Path); ok && n < len(body) {
		// What is missing of the promised length breaks the connection off.
		body = body[:n]
	}
	_, _ = w.Write(body)
}

func pop(from map[string][]int, path string) (int, bool) {
	queue := from[path]
	if len(queue) == 0 {
		return 0, false
	}
	from[path] = queue[1:]
	return queue[0], true
}

func (p *publisher) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// file is an entry of an archive in a test.
type file struct {
	name, content string
	link          string
	kind          byte
}

const fakeClient = "#!/bin/sh\necho fake client\n"

// asPublished is how EKS Distro packs a client.
var asPublished = []file{
	{name: "./", kind: tar.TypeDir},
	{name: "./LICENSES/", kind: tar.TypeDir},
	{name: "./LICENSES/LICENSE.txt", content: "licence"},
	{name: "./aws-iam-authenticator", content: fakeClient},
	{name: "./ATTRIBUTION.txt", content: "thanks"},
}

func tarGz(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.kind != 0 {
			h.Typeflag = f.kind
		}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.link != "" {
			h.SetMode(os.ModeSymlink | 0o777)
			f.content = f.link
		}
		to, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const assetPath = "/kubernetes-1-32/aws-iam-authenticator-linux-amd64-v0.7.18.tar.gz"

// published is a publisher with a client, and its asset without a checksum.
func published(t testing.TB) (*publisher, Asset) {
	t.Helper()
	data := tarGz(t, asPublished)
	p := newPublisher(t, map[string][]byte{
		assetPath:             data,
		assetPath + ".sha256": []byte(sum(data) + "  " + filepath.Base(assetPath) + "\n"),
	})
	return p, Asset{
		Client: ClientAuthenticator, KubeVersion: "1.32", Version: "v0.7.18",
		OS: "linux", Arch: "amd64", URI: p.URL + assetPath,
	}
}

// impatient is a downloader that does not wait between attempts.
func impatient() Downloader {
	return Downloader{Wait: func(context.Context, int) error { return nil }}
}

// names lists a directory, hidden files included.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// quietLog swallows a test server's complaints about its clients.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
