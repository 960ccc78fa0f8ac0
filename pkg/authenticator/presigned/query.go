package presigned

import (
	"strconv"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

// The parameters of a presigned GetCallerIdentity. No other may be there: STS
// would read it, and two parsers that disagree about which of two parameters
// counts are how CVE-2022-2385 came about.
const (
	pAction = iota
	pVersion
	pAlgorithm
	pCredential
	pDate
	pExpires
	pSecurityToken
	pSignature
	pSignedHeaders
	numParams
)

var paramNames = [numParams]string{
	pAction:        "Action",
	pVersion:       "Version",
	pAlgorithm:     "X-Amz-Algorithm",
	pCredential:    "X-Amz-Credential",
	pDate:          "X-Amz-Date",
	pExpires:       "X-Amz-Expires",
	pSecurityToken: "X-Amz-Security-Token",
	pSignature:     "X-Amz-Signature",
	pSignedHeaders: "X-Amz-SignedHeaders",
}

// params are a query's parameters.
type params struct {
	values  [numParams]string
	present [numParams]bool
	// keys and order keep the query's own spelling and order, which the
	// signature covers.
	keys  [numParams]string
	order [numParams]uint8
	n     int
	size  int
}

func parseQuery(query string) (*params, error) {
	p := &params{size: len(query)}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue // "&" at the end
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, malformed("query parameter " + quote(key, paramShape) + " has no value")
		}
		if strings.IndexByte(pair, ';') >= 0 {
			return nil, malformed("unescaped ; in query")
		}
		i := paramIndex(key)
		if i < 0 {
			return nil, malformed("query parameter " + quote(key, paramShape) + " does not belong in a presigned GetCallerIdentity")
		}
		if p.present[i] {
			return nil, malformed("query parameter " + paramNames[i] + " is there twice")
		}
		value, err := unescape(value)
		if err != nil {
			return nil, err
		}
		p.present[i], p.values[i], p.keys[i] = true, value, key
		p.order[p.n] = uint8(i)
		p.n++
	}
	return p, nil
}

// paramIndex finds a parameter by its name, whatever its case.
func paramIndex(key string) int {
	for i, name := range paramNames {
		if len(name) == len(key) && strings.EqualFold(name, key) {
			return i
		}
	}
	return -1
}

// unescape undoes percent-encoding. A plus sign is refused: it is a space to
// some and a plus to others.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '+') >= 0 {
		return "", malformed("unescaped + in query")
	}
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15 {
			return "", malformed("bad % escape in query")
		}
		b.WriteString(s[:i])
		b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
		s = s[i+3:]
	}
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// check holds the parameters against what STS and its clients make of them.
func (p *params) check(host iam.STSHost, now time.Time) (Token, error) {
	for i, name := range paramNames {
		switch {
		case p.present[i] && p.values[i] == "":
			return Token{}, malformed("query parameter " + name + " is empty")
		case !p.present[i] && i == pSignedHeaders:
			return Token{}, malformed("the client did not sign the x-k8s-aws-id header: X-Amz-SignedHeaders is missing")
		case !p.present[i] && i != pSecurityToken:
			return Token{}, malformed("query parameter " + name + " is missing")
		}
	}
	v := &p.values
	if v[pAction] != "GetCallerIdentity" {
		return Token{}, malformed("Action is not GetCallerIdentity")
	}
	if v[pVersion] != "2011-06-15" {
		return Token{}, malformed("Version is not 2011-06-15")
	}
	if v[pAlgorithm] != "AWS4-HMAC-SHA256" {
		return Token{}, malformed("X-Amz-Algorithm is not AWS4-HMAC-SHA256")
	}
	if err := checkSignedHeaders(v[pSignedHeaders]); err != nil {
		return Token{}, err
	}
	if !isExpires(v[pExpires]) {
		return Token{}, malformed("X-Amz-Expires is not a whole number from 0 to 900")
	}
	if !isSignature(v[pSignature]) {
		return Token{}, malformed("X-Amz-Signature is not 64 lower-case hexadecimal digits")
	}
	if !isPrintable(v[pSecurityToken]) {
		return Token{}, malformed("X-Amz-Security-Token has characters that no session token has")
	}
	date, err := parseDate(v[pDate])
	if err != nil {
		return Token{}, err
	}
	key, err := checkCredential(v[pCredential], v[pDate], host)
	if err != nil {
		return Token{}, err
	}
	if err := checkTime(date, now); err != nil {
		return Token{}, err
	}
	return Token{Host: host, AccessKeyID: key, Date: date, Expires: date.Add(validity), Query: p.encode()}, nil
}

func checkSignedHeaders(list string) error {
	signed := false
	for name := range strings.SplitSeq(list, ";") {
		if name == "" {
			return malformed("empty name in X-Amz-SignedHeaders")
		}
		for i := range len(name) {
			c := name[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return malformed("X-Amz-SignedHeaders has a character that no header's name has; the client did not sign the x-k8s-aws-id header properly")
			}
		}
		signed = signed || strings.EqualFold(name, "x-k8s-aws-id")
	}
	if !signed {
		return malformed("the client did not sign the x-k8s-aws-id header")
	}
	return nil
}

func isExpires(s string) bool {
	if len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 900
}

func isSignature(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func parseDate(s string) (time.Time, error) {
	// time.Parse takes fractions of a second that the layout does not name.
	if len(s) != len(dateFormat) {
		return time.Time{}, malformed("X-Amz-Date is not of the form 20060102T150405Z")
	}
	t, err := time.Parse(dateFormat, s)
	if err != nil {
		return time.Time{}, malformed("X-Amz-Date is not of the form 20060102T150405Z")
	}
	return t, nil
}

// checkCredential takes X-Amz-Credential apart (key/date/region/service/
// aws4_request) and returns the key. The scope has one right value: the day of
// X-Amz-Date, the region of the host (us-east-1 for the global endpoint), sts.
func checkCredential(credential, date string, host iam.STSHost) (string, error) {
	key, scope, _ := strings.Cut(credential, "/")
	if key == "" || len(key) > 128 {
		return "", malformed("X-Amz-Credential has no access key ID")
	}
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return "", malformed("X-Amz-Credential's access key ID has characters that none has")
		}
	}
	region := host.Region
	if region == "" {
		region = "us-east-1"
	}
	day, rest, _ := strings.Cut(scope, "/")
	scopeRegion, rest, _ := strings.Cut(rest, "/")
	switch {
	case day != date[:8]:
		return "", malformed("X-Amz-Credential is for another day than X-Amz-Date")
	case scopeRegion != region:
		return "", malformed("X-Amz-Credential is for region " + quote(scopeRegion, hostShape) + ", the host for " + region)
	case rest != "sts/aws4_request":
		return "", malformed("X-Amz-Credential is not for the service sts")
	}
	return key, nil
}

func checkTime(date, now time.Time) error {
	if ahead := date.Sub(now); ahead > maxAhead {
		return reason.New(reason.ClockAhead, "token was made "+seconds(ahead)+" s in the future: the client's clock is ahead of this server's")
	}
	// As the original does: good up to the second.
	if now.After(date.Add(validity)) {
		return reason.New(reason.Expired, "token is expired (15 minutes): it was made "+seconds(now.Sub(date))+" s ago; if it is new, the client's clock is behind this server's by about as much")
	}
	return nil
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// encode puts the query together again.
func (p *params) encode() string {
	var b strings.Builder
	b.Grow(p.size + 32)
	for i := range p.n {
		if i > 0 {
			b.WriteByte('&')
		}
		k := p.order[i]
		b.WriteString(p.keys[k])
		b.WriteByte('=')
		writeEscaped(&b, p.values[k])
	}
	return b.String()
}

// writeEscaped percent-encodes as SigV4 does: all but letters, digits and
// "-_.~".
func writeEscaped(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	plain := 0
	for i := range len(s) {
		c := s[i]
		if isUnreserved[c] {
			continue
		}
		b.WriteString(s[plain:i])
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
		plain = i + 1
	}
	b.WriteString(s[plain:])
}

// isUnreserved marks the characters that stand for themselves in a query.
var isUnreserved = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~") {
		t[c] = true
	}
	return t
}()
