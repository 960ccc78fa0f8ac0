package release

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// HTTPOptions are what NewHTTPClient can be told.
type HTTPOptions struct {
	// Proxy decides which requests go through a proxy. Zero means the usual
	// environment, HTTPS_PROXY, HTTP_PROXY and NO_PROXY, read now.
	Proxy *httpproxy.Config
	// RootCAs are trusted instead of the system's, if set.
	RootCAs *x509.CertPool
}

// NewHTTPClient returns a client for downloads: through the environment's
// proxy, with no time limit on a whole download, and never following a redirect
// from https to http.
func NewHTTPClient(o HTTPOptions) *http.Client {
	proxy := o.Proxy
	if proxy == nil {
		proxy = httpproxy.FromEnvironment()
	}
	choose := proxy.ProxyFunc()
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       30 * time.Second,
			ForceAttemptHTTP2:     true,
			// The bytes on the wire are the ones that have a checksum.
			DisableCompression: true,
		},
		CheckRedirect: checkRedirect,
	}
}

// redirectError says why a redirect was not followed.
type redirectError struct{ reason string }

func (e *redirectError) Error() string { return e.reason }

func checkRedirect(next *http.Request, past []*http.Request) error {
	if len(past) >= 10 {
		return &redirectError{"stopped after 10 redirects"}
	}
	if past[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return &redirectError{"refused a redirect from https to " + next.URL.Redacted()}
	}
	return nil
}

// CheckMirror tells what is wrong with the URL of a mirror, given by a user.
func CheckMirror(mirror string) error {
	u, err := url.Parse(mirror)
	if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("mirror: want a URL such as https://mirror.example.com/eks-distro")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("mirror %s: a query or fragment cannot be part of a mirror", u.Redacted())
	}
	return nil
}

// mirrored is where a mirror has what is published at a URL: the mirror's URL
// with the original path after it.
func mirrored(uri, mirror string) (string, error) {
	if mirror == "" {
		return uri, nil
	}
	if err := CheckMirror(mirror); err != nil {
		return "", err
	}
	at, err := url.Parse(mirror)
	if err != nil {
		return "", err
	}
	original, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	at = at.JoinPath(original.EscapedPath())
	at.RawQuery = original.RawQuery
	return at.String(), nil
}

// redacted is a URL for messages, without its password.
func redacted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "an invalid URL"
	}
	return u.Redacted()
}

// strippedPassword is a URL as net/http writes it into its errors.
func strippedPassword(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	if _, ok := u.User.Password(); ok {
		return strings.Replace(u.String(), u.User.String()+"@", u.User.Username()+":***@", 1)
	}
	return u.String()
}
