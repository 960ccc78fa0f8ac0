package release

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"
)

func download(t testing.TB, d *Downloader, a Asset) (Checked, []byte, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	checked, err := d.Download(t.Context(), a, f)
	if err != nil {
		return checked, nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return checked, data, nil
}

func TestDownload(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(p *publisher, a *Asset, d *Downloader)
		// by is who vouches for the archive; err a part of the error.
		by, err string
		// requests are for the archive alone.
		requests []string
	}{
		"checksum in the manifest": {
			prepare: func(p *publisher, a *Asset, _ *Downloader) {
				a.SHA256 = sum(p.files[assetPath])
				delete(p.files, assetPath+".sha256")
			},
			by:       ByManifest,
			requests: []string{assetPath},
		},
		"sha512 alone in the manifest": {
			prepare: func(p *publisher, a *Asset, _ *Downloader) {
				s := sha512.Sum512(p.files[assetPath])
				a.SHA512 = hex.EncodeToString(s[:])
			},
			by: ByManifest,
		},
		"checksum beside the archive": {
			prepare:  func(*publisher, *Asset, *Downloader) {},
			by:       ".sha256",
			requests: []string{assetPath + ".sha256", assetPath},
		},
		"bare checksum beside": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.files[assetPath+".sha256"] = []byte(strings.ToUpper(sum(p.files[assetPath])))
			},
			by: ".sha256",
		},
		"wrong sha256": {
			prepare: func(_ *publisher, a *Asset, _ *Downloader) { a.SHA256 = strings.Repeat("0", 64) },
			err:     "but the release manifest says 0000",
		},
		"wrong sha512": {
			prepare: func(p *publisher, a *Asset, _ *Downloader) {
				a.SHA256, a.SHA512 = sum(p.files[assetPath]), strings.Repeat("0", 128)
			},
			err: "sha512 is",
		},
		"wrong checksum beside": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.files[assetPath+".sha256"] = []byte(strings.Repeat("0", 64))
			},
			err: ".sha256 says 0000",
		},
		"no checksum anywhere": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) { delete(p.files, assetPath+".sha256") },
			err:     "the release manifest has no checksum for",
			// The archive itself is not even asked for.
			requests: []string{assetPath + ".sha256"},
		},
		"a web page for a checksum": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.files[assetPath+".sha256"] = []byte("<html>please log in</html>")
			},
			err: "has no checksum of",
		},
		"another file's checksum": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.files[assetPath+".sha256"] = []byte(sum(nil) + "  another.tar.gz\n")
			},
			err: "has no checksum of aws-iam-authenticator-linux-amd64-v0.7.18.tar.gz",
		},
		"cut short, then resumed": {
			prepare:  func(p *publisher, _ *Asset, _ *Downloader) { p.cut[assetPath] = []int{100, 50} },
			by:       ".sha256",
			requests: []string{assetPath + ".sha256", assetPath, assetPath + " bytes=100-", assetPath + " bytes=150-"},
		},
		"cut short, no ranges": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.cut[assetPath], p.noRange = []int{100}, true
			},
			by:       ".sha256",
			requests: []string{assetPath + ".sha256", assetPath, assetPath + " bytes=100-"},
		},
		"cut short, no tag": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.cut[assetPath], p.noTag = []int{100}, true
			},
			by:       ".sha256",
			requests: []string{assetPath + ".sha256", assetPath, assetPath},
		},
		"always cut short": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.cut[assetPath] = []int{10, 10, 10, 10, 10, 10}
			},
			err: "stopped at 50 of",
		},
		"busy, then not": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.status[assetPath] = []int{503, 429, 500}
			},
			by: ".sha256",
		},
		"always busy": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) {
				p.status[assetPath] = []int{503, 503, 503, 503, 503}
			},
			err: "(5 attempts): the server answered 503",
		},
		"not there": {
			prepare:  func(p *publisher, _ *Asset, _ *Downloader) { delete(p.files, assetPath) },
			err:      "the server answered 404",
			requests: []string{assetPath + ".sha256", assetPath},
		},
		"not allowed": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) { p.status[assetPath] = []int{403} },
			err:     "the server answered 403",
		},
		"too large": {
			prepare: func(_ *publisher, a *Asset, d *Downloader) {
				a.SHA256 = strings.Repeat("0", 64)
				d.Limits = Limits{Download: 99, Unpacked: 1, Entries: 1}
			},
			err: "the limit is 99",
		},
		"nobody listens": {
			prepare: func(p *publisher, _ *Asset, _ *Downloader) { p.Close() },
			err:     "connection refused",
		},
		"no such host": {
			prepare: func(_ *publisher, a *Asset, _ *Downloader) {
				a.URI = "https://client.invalid/x.tar.gz"
			},
			err: "download https://client.invalid/x.tar.gz",
		},
		"plain http without a checksum": {
			prepare: func(_ *publisher, _ *Asset, d *Downloader) { d.Mirror = "http://mirror.invalid/" },
			err:     "use an https mirror",
		},
		"a mirror that is no URL": {
			prepare: func(_ *publisher, _ *Asset, d *Downloader) { d.Mirror = "mirror.invalid" },
			err:     "mirror: want a URL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a := published(t)
			d := impatient()
			test.prepare(p, &a, &d)
			want := p.files[assetPath]
			checked, data, err := download(t, &d, a)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else if string(data) != string(want) || checked.SHA256 != sum(want) || !strings.HasSuffix(checked.By, test.by) {
				t.Errorf("got %d bytes, %+v; want %d bytes, by %s", len(data), checked, len(want), test.by)
			}
			if got := p.seen(); test.requests != nil && !slices.Equal(got, test.requests) {
				t.Errorf("requests\n%q, want\n%q", got, test.requests)
			}
		})
	}
}

// TestDownloadChangedMeanwhile replaces the archive between two attempts: the
// pieces of two files must not be put together.
func TestDownloadChangedMeanwhile(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	other := tarGz(t, append([]file{{name: "first", content: "x"}}, asPublished...))
	a.SHA256 = sum(other)
	p.cut[assetPath] = []int{100}
	d := impatient()
	d.Retrying = func(int, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.files[assetPath] = other
	}
	if _, data, err := download(t, &d, a); err != nil || string(data) != string(other) {
		t.Errorf("%d bytes, %v; want the new file's %d", len(data), err, len(other))
	}
}

func TestDownloadProgress(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	p.cut[assetPath] = []int{100}
	var last, retries int
	d := impatient()
	d.Progress = func(done, total int64) {
		if int(done) <= last || total != int64(len(p.files[assetPath])) {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = int(done)
	}
	d.Retrying = func(attempt int, err error) {
		retries++
		if attempt != 1 || err.Error() != "the connection ended early" {
			t.Errorf("attempt %d failed with %v", attempt, err)
		}
	}
	if _, _, err := download(t, &d, a); err != nil {
		t.Fatal(err)
	}
	if last != len(p.files[assetPath]) || retries != 1 {
		t.Errorf("ended at %d of %d, after %d retries", last, len(p.files[assetPath]), retries)
	}
}

// TestDownloadStalls has a server that falls silent.
func TestDownloadStalls(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(done)
	d := impatient()
	d.Stall, d.Attempts = 20*time.Millisecond, 2
	_, _, err := download(t, &d, Asset{URI: server.URL, SHA256: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "the server stopped sending") {
		t.Errorf("error %v", err)
	}
}

func TestDownloadCancelled(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	p.cut[assetPath] = []int{100}
	ctx, cancel := context.WithCancel(t.Context())
	d := impatient()
	d.Retrying = func(int, error) { cancel() }
	f, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := d.Download(ctx, a, f); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want cancelled", err)
	}
}

func TestDownloadMirror(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	for path, data := range p.files {
		p.files["/cache/eks-d"+path] = data
	}
	a.URI = "https://distro.eks.amazonaws.com" + assetPath
	d := impatient()
	d.Mirror = p.URL + "/cache/eks-d/"
	checked, _, err := download(t, &d, a)
	if err != nil {
		t.Fatal(err)
	}
	if want := p.URL + "/cache/eks-d" + assetPath + ".sha256"; checked.By != want {
		t.Errorf("checked by %s, want %s", checked.By, want)
	}
}

// TestMessagesHidePasswords uses a mirror that wants basic authentication.
func TestMessagesHidePasswords(t *testing.T) {
	t.Parallel()
	p, a := published(t)
	a.URI = "https://distro.eks.amazonaws.com" + assetPath
	d := impatient()
	d.Mirror = strings.Replace(p.URL, "http://", "http://ci:hunter2@", 1)
	checked, _, err := download(t, &d, a)
	if err != nil || strings.Contains(checked.By, "hunter2") {
		t.Errorf("checked %v, %v", checked, err)
	}
	delete(p.files, assetPath)
	_, _, err = download(t, &d, a)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
	p.Close()
	d.Retrying = func(_ int, err error) {
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("retry message %v", err)
		}
	}
	_, _, err = download(t, &d, a)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

// TestDownloadThroughProxy sends a download of a real name through a proxy that
// only opens tunnels, as the environment's HTTPS_PROXY would.
func TestDownloadThroughProxy(t *testing.T) {
	t.Parallel()
	data := tarGz(t, asPublished)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	defer server.Close()
	tunnels := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels <- r.Method + " " + r.Host
		there, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, here)
			_ = there.Close()
		}()
		_, _ = io.Copy(here, there)
	}))
	defer proxy.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d := impatient()
	d.Client = NewHTTPClient(HTTPOptions{Proxy: &httpproxy.Config{HTTPSProxy: proxy.URL}, RootCAs: roots})
	defer d.Client.CloseIdleConnections()
	// httptest's certificate is for example.com.
	if _, _, err := download(t, &d, Asset{URI: "https://example.com/x.tar.gz", SHA256: sum(data)}); err != nil {
		t.Fatal(err)
	}
	if got := <-tunnels; got != "CONNECT example.com:443" {
		t.Errorf("proxy saw %q", got)
	}
}

func TestUntrustedServerIsTriedOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quietLog()
	server.StartTLS()
	defer server.Close()
	d := impatient()
	d.Retrying = func(int, error) { t.Error("tried again") }
	_, _, err := download(t, &d, Asset{URI: server.URL, SHA256: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
}

func TestRedirectToPlainHTTPIsRefused(t *testing.T) {
	t.Parallel()
	plain := newPublisher(t, map[string][]byte{"/x": []byte("x")})
	server := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x", http.StatusFound))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d := impatient()
	d.Client = NewHTTPClient(HTTPOptions{Proxy: &httpproxy.Config{}, RootCAs: roots})
	_, _, err := download(t, &d, Asset{URI: server.URL, SHA256: sum([]byte("x"))})
	if err == nil || !strings.Contains(err.Error(), "refused a redirect from https") || len(plain.seen()) != 0 {
		t.Errorf("error %v, requests %q", err, plain.seen())
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, map[string][]byte{"/kubernetes-1-32-eks-99.yaml": []byte(oneRelease)})
	bundles := strings.Replace(oneBundles, "https://mirror.example.com", p.URL, 1)
	m, err := Parse("my.yaml", []byte(bundles))
	if err != nil {
		t.Fatal(err)
	}
	d := impatient()
	for range 2 {
		if err := m.Fetch(t.Context(), &d, "v1.32.1"); err != nil {
			t.Fatal(err)
		}
	}
	a, err := m.Client("1.32", "linux", "amd64")
	if err != nil || a.Trust != "publisher" {
		t.Errorf("client %+v, %v", a, err)
	}
	if got := p.seen(); len(got) != 1 {
		t.Errorf("requests %q, want one", got)
	}
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ content, want string }{
		"absent":       {"", "404"},
		"another name": {strings.Replace(oneRelease, "eks-99", "eks-1", 1), `is release "kubernetes-1-32-eks-1"`},
		"not YAML":     {"<html>", "cannot unmarshal"},
		"damaged":      {strings.Replace(oneRelease, "type: Archive", "type: X", 1), `type "X"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string][]byte{}
			if test.content != "" {
				files["/kubernetes-1-32-eks-99.yaml"] = []byte(test.content)
			}
			p := newPublisher(t, files)
			m, err := Parse("my.yaml", []byte(strings.Replace(oneBundles, "https://mirror.example.com", p.URL, 1)))
			if err != nil {
				t.Fatal(err)
			}
			d := impatient()
			if err := m.Fetch(t.Context(), &d, "1.32"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestBuiltinNeedsNoFetch must make no request at all.
func TestBuiltinNeedsNoFetch(t *testing.T) {
	t.Parallel()
	d := Downloader{Client: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("request for %s", r.URL)
		return nil, errors.New("refused")
	})}}
	m := builtin(t)
	for _, v := range m.KubeVersions() {
		if err := m.Fetch(t.Context(), &d, v); err != nil {
			t.Error(err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMirrored(t *testing.T) {
	t.Parallel()
	const uri = "https://distro.eks.amazonaws.com/kubernetes-1-32/a%20b.tar.gz?x=1"
	for mirror, want := range map[string]string{
		"":                              uri,
		"https://m.example.com":         "https://m.example.com/kubernetes-1-32/a%20b.tar.gz?x=1",
		"https://m.example.com/p/":      "https://m.example.com/p/kubernetes-1-32/a%20b.tar.gz?x=1",
		"https://u:p@m.example.com:8/p": "https://u:p@m.example.com:8/p/kubernetes-1-32/a%20b.tar.gz?x=1",
	} {
		if got, err := mirrored(uri, mirror); err != nil || got != want {
			t.Errorf("mirrored by %q: %q, %v; want %q", mirror, got, err, want)
		}
	}
	for _, bad := range []string{"m.example.com", "ftp://m.example.com", "https://", "https://m.example.com/?q", "https://m.example.com/#f", "\x00"} {
		if got, err := mirrored(uri, bad); err == nil {
			t.Errorf("mirrored by %q: %q, want an error", bad, got)
		}
	}
	if _, err := url.Parse(uri); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseChecksumFile(f *testing.F) {
	f.Add([]byte(sum(nil)+"  x.tar.gz\n"), "x.tar.gz")
	f.Add([]byte(sum(nil)), "x.tar.gz")
	f.Add([]byte("SHA256 (x) = "+sum(nil)), "x")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		got, err := parseChecksumFile(data, name)
		if err == nil && (len(got) != 64 || strings.ToLower(got) != got) {
			t.Errorf("checksum %q", got)
		}
	})
}
