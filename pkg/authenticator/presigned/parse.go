package presigned

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

const (
	// dateFormat is X-Amz-Date's: ISO 8601, basic, no fractions.
	dateFormat = "20060102T150405Z"
	// validity is how long after its date STS honours a presigned request.
	validity = 15 * time.Minute
	// maxAhead is how far a client's clock may run ahead of this server's,
	// which is what STS allows.
	maxAhead = 5 * time.Minute
)

// strict is base64url without padding, and without stray bits at the end.
var strict = base64.RawURLEncoding.Strict()

// Token is a presigned request that has passed every check made here. Who it
// speaks for only STS can say.
type Token struct {
	// Host is the STS endpoint the request was signed for.
	Host iam.STSHost
	// AccessKeyID is the key that claims to have signed.
	AccessKeyID string
	// Date is when it was signed, by the client's clock; Expires is 15 minutes
	// later, whatever X-Amz-Expires says: that is how STS counts.
	Date, Expires time.Time
	// Query is the request's query, put together again from the checked
	// parameters in their order, with one canonical escaping. It is a
	// credential: never log it.
	Query string
}

// String keeps the credential out of logs.
func (Token) String() string { return "presigned token" }

// Parser reads tokens for one partition. It never changes.
type Parser struct {
	partition string
	hosts     *iam.HostSet
	// foreign holds the endpoints of the other partitions, to say so.
	foreign map[string]string
}

// NewParser returns a parser that takes the STS endpoints of a partition; extra
// regions are ones that the operator vouches for.
func NewParser(p iam.Partition, extraRegions ...string) (*Parser, error) {
	hosts, err := iam.NewHostSet(p, extraRegions...)
	if err != nil {
		return nil, err
	}
	parser := &Parser{partition: p.ID, hosts: hosts, foreign: map[string]string{}}
	for _, id := range iam.PartitionIDs() {
		other, _ := iam.LookupPartition(id)
		if other.ID == p.ID {
			continue
		}
		otherHosts, err := iam.NewHostSet(other)
		if err != nil {
			return nil, err
		}
		for _, name := range otherHosts.Names() {
			parser.foreign[name] = other.ID
		}
	}
	return parser, nil
}

// Parse reads a token and checks it as of now. Errors are *reason.Denial.
func (p *Parser) Parse(token string, now time.Time) (Token, error) {
	if len(token) > MaxBytes {
		return Token{}, reason.New(reason.Malformed, "token is longer than 4096 bytes")
	}
	encoded, ok := strings.CutPrefix(token, Prefix)
	if !ok {
		return Token{}, reason.New(reason.NotOurs, "token has no "+Prefix+" prefix")
	}
	// Go's decoder skips line breaks and, unless strict, ignores stray bits at
	// the end; both would give one identity several spellings.
	if strings.IndexByte(encoded, '\r') >= 0 || strings.IndexByte(encoded, '\n') >= 0 {
		return Token{}, malformed("line break in token")
	}
	raw, err := strict.DecodeString(encoded)
	if err != nil {
		return Token{}, malformed("token is not base64url without padding")
	}
	return p.parseURL(string(raw), now)
}

func malformed(detail string) error { return reason.New(reason.Malformed, detail) }

// parseURL takes the URL apart by hand: net/url accepts much more than a
// presigned request ever is.
func (p *Parser) parseURL(raw string, now time.Time) (Token, error) {
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] >= 0x7f {
			return Token{}, malformed("control character, space or non-ASCII byte in URL")
		}
	}
	const scheme = "https://"
	if len(raw) < len(scheme) || !strings.EqualFold(raw[:len(scheme)], scheme) {
		return Token{}, malformed("URL is not https")
	}
	if strings.IndexByte(raw, '#') >= 0 {
		return Token{}, malformed("fragment in URL")
	}
	rest := raw[len(scheme):]
	slash := strings.IndexByte(rest, '/')
	if q := strings.IndexByte(rest, '?'); slash < 0 || q >= 0 && q < slash {
		return Token{}, malformed("URL has no path: want /")
	}
	host, rest := rest[:slash], rest[slash+1:]
	stsHost, err := p.host(host)
	if err != nil {
		return Token{}, err
	}
	if rest == "" || rest[0] != '?' {
		return Token{}, malformed("URL's path is not /, or there is no query")
	}
	params, err := parseQuery(rest[1:])
	if err != nil {
		return Token{}, err
	}
	return params.check(stsHost, now)
}

// host looks the endpoint up. Upper case, user, port, a trailing dot: none of
// them is in the set.
func (p *Parser) host(host string) (iam.STSHost, error) {
	if h, ok := p.hosts.Lookup(host); ok {
		return h, nil
	}
	if strings.IndexByte(host, '@') >= 0 {
		return iam.STSHost{}, malformed("user in URL")
	}
	if other, ok := p.foreign[host]; ok {
		return iam.STSHost{}, reason.New(reason.WrongPartition, "token is for STS in partition "+other+", this cluster takes "+p.partition)
	}
	return iam.STSHost{}, reason.New(reason.WrongHost, "host "+quote(host, hostShape)+" is no STS endpoint of partition "+p.partition+" that this server knows (a region newer than it goes into server.stsRegions)")
}

// What may be quoted of what a stranger sent: names of about the length they
// have. Anything else may be a signature (64 digits and letters) or a session
// token that a damaged URL has brought to the wrong place.
var (
	paramShape = regexp.MustCompile(`^((?i)x-amz-[a-z-]{1,24}|[A-Za-z-]{1,15})$`)
	hostShape  = regexp.MustCompile(`^[A-Za-z0-9:-]{0,40}(\.[A-Za-z0-9:-]{0,40}){0,6}$`)
)

// quote quotes a piece of a token, if it has the shape.
func quote(s string, shape *regexp.Regexp) string {
	if !shape.MatchString(s) {
		return "(not shown)"
	}
	return strconv.Quote(s)
}
