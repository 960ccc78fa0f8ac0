package stssim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// param is one parameter of a query or a form, in the order it came.
type param struct{ key, value string }

// first returns a parameter's first value.
func first(params []param, key string) (string, bool) {
	for _, p := range params {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

// parseParams takes a query string or a form's body apart. It takes what
// url.ParseQuery takes, and keeps the order.
func parseParams(raw string) ([]param, error) {
	var params []param
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if strings.Contains(part, ";") {
			return nil, fmt.Errorf("a semicolon must be escaped")
		}
		key, value, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(key)
		if err != nil {
			return nil, err
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return nil, err
		}
		params = append(params, param{key, value})
	}
	return params, nil
}

// canonicalRequest is the text a Signature Version 4 is made of.
func canonicalRequest(r *http.Request, query []param, signedHeaders []string, body []byte) []byte {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	// Only the root is served, so there is no path to normalise.
	b.WriteString("/\n")
	b.WriteString(canonicalQuery(query))
	b.WriteByte('\n')
	for _, name := range signedHeaders {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(canonicalHeader(r, name))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(signedHeaders, ";"))
	b.WriteByte('\n')
	hash := sha256.Sum256(body)
	b.WriteString(hex.EncodeToString(hash[:]))
	return []byte(b.String())
}

// canonicalQuery escapes and sorts the parameters, without the signature.
func canonicalQuery(query []param) string {
	escaped := make([]param, 0, len(query))
	for _, p := range query {
		if p.key != "X-Amz-Signature" {
			escaped = append(escaped, param{escape(p.key), escape(p.value)})
		}
	}
	slices.SortStableFunc(escaped, func(a, b param) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, p := range escaped {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.key)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String()
}

// canonicalHeader joins a header's values and squeezes their white space.
func canonicalHeader(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		// net/http takes this one out of the headers in some protocols.
		return strconv.FormatInt(max(r.ContentLength, 0), 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// escape percent-encodes as Signature Version 4 wants it: everything but
// letters, digits and -._~
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
