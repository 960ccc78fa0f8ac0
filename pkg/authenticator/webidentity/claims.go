package webidentity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/reason"
)

// header is a JWT's first part.
type header struct {
	Alg  string          `json:"alg"`
	Kid  string          `json:"kid"`
	Crit json.RawMessage `json:"crit"`
}

// claims are a JWT's second part, as far as this server looks at it. What is
// not needed for the verdict is decoded leniently: AWS may add to it.
type claims struct {
	Iss string    `json:"iss"`
	Sub string    `json:"sub"`
	Aud audiences `json:"aud"`
	Exp instant   `json:"exp"`
	Iat instant   `json:"iat"`
	Nbf instant   `json:"nbf"`
	Jti lenient   `json:"jti"`
	AWS struct {
		Account  lenient `json:"aws_account"`
		Instance lenient `json:"ec2_source_instance_arn"`
	} `json:"https://sts.amazonaws.com/"`
}

// read reads a header.
func (h *header) read(raw []byte) error {
	if scanHeader(raw, h) {
		return nil
	}
	*h = header{}
	return json.Unmarshal(raw, h)
}

// read reads claims.
func (c *claims) read(raw []byte) error {
	if scanClaims(raw, c) {
		return nil
	}
	*c = claims{}
	return json.Unmarshal(raw, c)
}

// audiences is a string or a list of strings.
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(a))
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*a = audiences{s}
	return nil
}

// lenient is a string, or empty if something else is there.
type lenient string

func (l *lenient) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(l))
	}
	return nil
}

// instant is a NumericDate: seconds since 1970, perhaps with a fraction.
type instant struct {
	set bool
	sec int64
}

func (i *instant) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f < 0 || f > 1<<40 {
		return strconv.ErrSyntax
	}
	i.set, i.sec = true, int64(f)
	return nil
}

func (i instant) time() time.Time { return time.Unix(i.sec, 0) }

// parts is a JWT taken apart.
type parts struct {
	header header
	claims claims
	// signed is what the signature covers.
	signed    []byte
	signature []byte
	// room holds the token, then its parts decoded.
	room []byte
}

// spare holds parts for the next token: with their room they are more than a
// token's claims, and there is one for each login.
var spare = sync.Pool{New: func() any { return new(parts) }}

// keptRoom is how much room may be kept for the next token.
const keptRoom = 8 << 10

// parse takes a JWT apart, without its prefix. The parts are to be freed, and
// not used after that.
func parse(token string) (*parts, error) {
	p := spare.Get().(*parts)
	if err := p.parse(token); err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

func (p *parts) free() {
	room := p.room[:0]
	if cap(room) > keptRoom {
		room = nil
	}
	*p = parts{room: room}
	spare.Put(p)
}

func (p *parts) parse(token string) error {
	p.room = append(p.room[:0], token...)
	h, rest, _ := bytes.Cut(p.room, dot)
	c, s, _ := bytes.Cut(rest, dot)
	p.signed = p.room[:min(len(h)+1+len(c), len(p.room))]
	raw, err := p.decode(h)
	if err != nil || p.header.read(raw) != nil {
		return malformed("JWT's header is not base64url of JSON")
	}
	if p.header.Crit != nil {
		return malformed("JWT's header has critical extensions")
	}
	if p.header.Alg != algRS256 && p.header.Alg != algES384 {
		return malformed("JWT's algorithm is neither RS256 nor ES384")
	}
	if p.header.Kid == "" || len(p.header.Kid) > 256 {
		return malformed("JWT names no key (kid)")
	}
	if raw, err = p.decode(c); err != nil || p.claims.read(raw) != nil {
		return malformed("JWT's claims are not base64url of JSON of the expected form")
	}
	if p.signature, err = p.decode(s); err != nil || len(p.signature) == 0 {
		return malformed("JWT's signature is not base64url")
	}
	return nil
}

// decode is decode into the parts' room. What is there already may be left
// behind in a smaller room, unchanged.
func (p *parts) decode(b []byte) (decoded []byte, err error) {
	start := len(p.room)
	p.room, err = appendDecoded(p.room, b)
	return p.room[start:], err
}

var dot = []byte(".")

func malformed(detail string) error { return reason.New(reason.Malformed, detail) }

// strict is base64url without padding, and without stray bits at the end.
var strict = base64.RawURLEncoding.Strict()

// decode undoes base64url, with none of the spellings Go's decoder tolerates.
func decode(s string) ([]byte, error) { return appendDecoded(nil, []byte(s)) }

func appendDecoded(to, b []byte) ([]byte, error) {
	if bytes.IndexByte(b, '\r') >= 0 || bytes.IndexByte(b, '\n') >= 0 {
		return to, base64.CorruptInputError(0)
	}
	return strict.AppendDecode(to, b)
}
