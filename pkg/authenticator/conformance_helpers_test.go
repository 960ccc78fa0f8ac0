package authenticator

import (
	"encoding/base64"
	"net/url"
	"strings"
	"time"
)

// presignedURL makes a token of a URL, good or not.
func presignedURL(u string) string {
	return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(u))
}

// query returns a well-formed query, with some parameters changed.
func query(change map[string]string) string {
	now := time.Now().UTC()
	pairs := [][2]string{
		{"Action", "GetCallerIdentity"}, {"Version", "2011-06-15"}, {"X-Amz-Algorithm", "AWS4-HMAC-SHA256"},
		{"X-Amz-Credential", "AKIDEXAMPLE12345678/" + now.Format("20060102") + "/us-west-2/sts/aws4_request"},
		{"X-Amz-Date", now.Format("20060102T150405Z")}, {"X-Amz-Expires", "60"},
		{"X-Amz-SignedHeaders", "host;x-k8s-aws-id"}, {"X-Amz-Signature", strings.Repeat("a", 64)},
	}
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		if v, ok := change[p[0]]; ok {
			p[1] = v
		}
		b.WriteString(p[0] + "=" + url.QueryEscape(p[1]))
	}
	return b.String()
}
