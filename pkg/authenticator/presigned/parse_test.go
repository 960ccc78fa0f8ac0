package presigned

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

var now = time.Date(2026, 11, 21, 19, 24, 59, 0, time.UTC)

func parser(t testing.TB, partition string, regions ...string) *Parser {
	t.Helper()
	p, ok := iam.LookupPartition(partition)
	if !ok {
		t.Fatalf("partition %q", partition)
	}
	parser, err := NewParser(p, regions...)
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func encode(u string) string {
	return Prefix + base64.RawURLEncoding.EncodeToString([]byte(u))
}

// base is a well-formed query: the conformance tables' own, with a signature,
// scope and key of the form real ones have.
func base(region string) string {
	if region == "" {
		region = "us-east-1"
	}
	return "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE12345678%2F${DAY}%2F" + region +
		"%2Fsts%2Faws4_request&X-Amz-Date=${T+0s}&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=" + strings.Repeat("0123456789abcdef", 4)
}

// fill replaces the tables' placeholders.
func fill(s string) string { return fillAt(s, now) }

func fillAt(s string, now time.Time) string {
	for {
		i := strings.Index(s, "${T")
		if i < 0 {
			break
		}
		j := i + strings.IndexByte(s[i:], '}')
		offset, err := time.ParseDuration(s[i+3 : j])
		if err != nil {
			panic(err)
		}
		s = s[:i] + now.Add(offset).Format(dateFormat) + s[j+1:]
	}
	return strings.ReplaceAll(s, "${DAY}", now.Format("20060102"))
}

type conformanceCase struct {
	ID, Partition, Region, URL, Tok, Add, Host, Want, Original string
	Sub                                                        []string
}

// token builds a case's token.
func (c *conformanceCase) token() string { return c.tokenAt(now) }

func (c *conformanceCase) tokenAt(now time.Time) string {
	fill := func(s string) string { return fillAt(s, now) }
	const min = "action=GetCallerIdentity&x-amz-signedheaders=x-k8s-aws-id&x-amz-date=${T+0s}&x-amz-expires=60"
	u := "https://sts.us-west-2.amazonaws.com/?" + base("us-west-2") + c.Add
	switch {
	case c.Host != "":
		region := ""
		if labels := strings.Split(c.Host, "."); len(labels) > 3 {
			region = labels[1]
		}
		u = "https://" + c.Host + "/?" + base(region)
	case c.URL != "":
		u = strings.ReplaceAll(strings.ReplaceAll(c.URL, "${BASE}", base("us-west-2")), "${MIN}", min)
	case len(c.Sub) == 2:
		u = strings.Replace(u, c.Sub[0], c.Sub[1], 1)
	}
	u = strings.ReplaceAll(u, "\\u0001", "\x01")
	u = fill(u)
	if c.ID == "date-fraction" {
		u = strings.Replace(u, "Z&X-Amz-Expires", ".123Z&X-Amz-Expires", 1)
	}
	valid := encode(u)
	switch tok := c.Tok; {
	case c.ID == "tok-4097":
		return Prefix + strings.Repeat("A", 4097-len(Prefix))
	case c.ID == "tok-padded":
		return Prefix + base64.URLEncoding.EncodeToString([]byte(u+"&"))
	case c.ID == "tok-embedded-crlf":
		return valid[:50] + "\r\n" + valid[50:]
	case c.ID == "tok-empty":
		return ""
	case tok != "":
		tok = strings.ReplaceAll(tok, "<space>", " ")
		return strings.ReplaceAll(tok, "<valid>", strings.TrimPrefix(valid, Prefix))
	}
	return valid
}

// conformanceCases reads the table.
func conformanceCases(t testing.TB) []conformanceCase {
	t.Helper()
	data, err := os.ReadFile("testdata/conformance.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []conformanceCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range conformanceCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			partition := c.Partition
			if partition == "" {
				partition = "aws"
			}
			// The server's own region counts if it looks like one.
			var regions []string
			if iam.LooksLikeRegion(c.Region) {
				regions = []string{c.Region}
			}
			if _, ok := iam.LookupPartition(partition); !ok {
				// No parser can be made for it, so the server does not start.
				if c.Want != "reject" {
					t.Errorf("partition %s is unknown, want %s", partition, c.Want)
				}
				return
			}
			_, err := parser(t, partition, regions...).Parse(c.token(), now)
			if got := err == nil; got != (c.Want == "accept") {
				t.Errorf("got %v, want %s", err, c.Want)
			}
			var d *reason.Denial
			if err != nil && !errors.As(err, &d) {
				t.Errorf("error %T is no denial", err)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	good := "https://sts.us-west-2.amazonaws.com/?" + base("us-west-2")
	for _, tc := range []struct {
		name, url string
		want      reason.Code
		detail    string
	}{
		{"other partition", "https://sts.us-gov-west-1.amazonaws.com/?" + base("us-gov-west-1"), reason.WrongPartition, "aws-us-gov"},
		{"China", "https://sts.cn-north-1.amazonaws.com.cn/?" + base("cn-north-1"), reason.WrongPartition, "aws-cn"},
		{"no region", "https://sts.evil.amazonaws.com/?" + base("evil"), reason.WrongHost, "stsRegions"},
		{"elsewhere", "https://example.com/?" + base("x"), reason.WrongHost, "example.com"},
		{"user", "https://u:p@sts.us-west-2.amazonaws.com/?" + base("us-west-2"), reason.Malformed, "user in URL"},
		{"port", "https://sts.us-west-2.amazonaws.com:443/?" + base("us-west-2"), reason.WrongHost, ""},
		{"dot", "https://sts.us-west-2.amazonaws.com./?" + base("us-west-2"), reason.WrongHost, ""},
		{"client's clock", strings.ReplaceAll(good, "${T+0s}", "${T+301s}"), reason.ClockAhead, "301 s in the future"},
		{"old", strings.ReplaceAll(good, "${T+0s}", "${T-901s}"), reason.Expired, "901 s ago"},
		{"version", strings.Replace(good, "2011-06-15", "2011-06-16", 1), reason.Malformed, "Version"},
		{"algorithm", strings.Replace(good, "HMAC-SHA256", "HMAC-SHA1", 1), reason.Malformed, "Algorithm"},
		{"no signature", strings.Replace(good, "&X-Amz-Signature=", "&x=", 1), reason.Malformed, "does not belong"},
		{"upper-case signature", strings.Replace(good, "abcdef", "ABCDEF", 1), reason.Malformed, "Signature"},
		{"scope's region", strings.Replace(good, "%2Fus-west-2%2F", "%2Fus-east-1%2F", 1), reason.Malformed, "us-west-2"},
		{"scope's day", strings.Replace(good, "${DAY}", "20260101", 1), reason.Malformed, "another day"},
		{"scope's service", strings.Replace(good, "%2Fsts%2F", "%2Fs3%2F", 1), reason.Malformed, "service"},
		{"expires with sign", strings.Replace(good, "Expires=60", "Expires=%2B60", 1), reason.Malformed, "Expires"},
		{"expires with zeros", strings.Replace(good, "Expires=60", "Expires=060", 1), reason.Malformed, "Expires"},
		{"expires 901", strings.Replace(good, "Expires=60", "Expires=901", 1), reason.Malformed, "Expires"},
		{"no value", good + "&X-Amz-Security-Token", reason.Malformed, "no value"},
		{"empty session token", good + "&X-Amz-Security-Token=", reason.Malformed, "empty"},
		{"plus", good + "&X-Amz-Security-Token=a+b", reason.Malformed, "+"},
		{"semicolon", good + ";x=y", reason.Malformed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parser(t, "aws").Parse(encode(fill(tc.url)), now)
			var d *reason.Denial
			if !errors.As(err, &d) || d.Code != tc.want || !strings.Contains(d.Detail, tc.detail) {
				t.Errorf("got %v, want %s with %q", err, tc.want, tc.detail)
			}
		})
	}
}

// TestDenialHoldsNoSecret damages a URL at every place, in every way that moves
// what comes after it into another part of the URL.
func TestDenialHoldsNoSecret(t *testing.T) {
	t.Parallel()
	p := parser(t, "aws")
	const session = "IQoJb3JpZ2luX2VjEOr0123456789AbCdEfGhIjKlMnOpQrStUvWxYz"
	signature := strings.Repeat("0123456789abcdef", 4)
	q := fill(base("us-west-2"))
	name := "X-Amz-Signature="
	first := name + signature + "&X-Amz-Security-Token=" + session + "&" + strings.Replace(q, "&"+name+signature, "", 1)
	for _, query := range []string{q + "&X-Amz-Security-Token=" + session, first} {
		u := "https://sts.us-west-2.amazonaws.com/?" + query
		for i := range len(u) {
			for _, put := range []string{"", "&", "=", "%3D", "%26", "/", "?", ":", ".", ";", "#", "@", "+", "%", " ", "é", "\n"} {
				for _, rest := range []string{u[i:], u[i+1:], "X-Amz-Credential=AKID%2F20260101%2F" + u[i:]} {
					_, err := p.Parse(encode(u[:i]+put+rest), now)
					if err == nil {
						continue
					}
					for _, secret := range []string{signature, session} {
						for j := 0; j+16 <= len(secret); j++ {
							if strings.Contains(err.Error(), secret[j:j+16]) {
								t.Fatalf("%q in %v", put, err)
							}
						}
					}
				}
			}
		}
	}
}

func TestTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	p := parser(t, "aws")
	tok := encode(fill("https://sts.us-west-2.amazonaws.com/?" + base("us-west-2") + "&X-Amz-Security-Token=abc"))
	if _, err := p.Parse(tok, now); err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	decode := func(s string) string {
		b, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(s, Prefix))
		return string(b)
	}
	for i := range len(alphabet) {
		other := tok[:len(tok)-1] + alphabet[i:i+1]
		if _, err := p.Parse(other, now); err == nil && other != tok && decode(other) == decode(tok) {
			t.Errorf("stray bits are accepted: last character %q", alphabet[i])
		}
	}
	for _, c := range []string{"\n", "\r", " ", "=", "+", "/"} {
		if _, err := p.Parse(tok[:100]+c+tok[100:], now); err == nil {
			t.Errorf("%q inside is accepted", c)
		}
	}
}

func TestQueryIsPutTogetherAgain(t *testing.T) {
	t.Parallel()
	in := fill("https://sts.amazonaws.com/?X-Amz-Security-Token=IQoJ%2f%2B%3D%41&" + base(""))
	got, err := parser(t, "aws").Parse(encode(in+"&"), now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Host.Name != "sts.amazonaws.com" || got.AccessKeyID != "AKIDEXAMPLE12345678" || !got.Date.Equal(now) || got.Expires.Sub(now) != 15*time.Minute {
		t.Errorf("got %+v", got)
	}
	if want := fill("X-Amz-Security-Token=IQoJ%2F%2B%3DA&" + base("")); got.Query != want {
		t.Errorf("got  %s\nwant %s", got.Query, want)
	}
	if got.String() != "presigned token" {
		t.Errorf("String shows %q", got.String())
	}
}

func TestClockEdges(t *testing.T) {
	t.Parallel()
	p := parser(t, "aws")
	for offset, good := range map[int]bool{300: true, 301: false, 0: true, -900: true, -901: false} {
		u := strings.ReplaceAll("https://sts.us-west-2.amazonaws.com/?"+base("us-west-2"), "${T+0s}", "${T"+signed(offset)+"s}")
		if _, err := p.Parse(encode(fill(u)), now); (err == nil) != good {
			t.Errorf("%d s: %v", offset, err)
		}
	}
}

func signed(n int) string {
	if n >= 0 {
		return "+" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// FuzzParse holds what is accepted against the standard library's reading of
// it: the same host, the same parameters, and again the same after a second
// round.
func FuzzParse(f *testing.F) {
	f.Add(encode(fill("https://sts.us-west-2.amazonaws.com/?" + base("us-west-2"))))
	f.Add(encode(fill("HTTPS://sts.amazonaws.com/?ACTION=GetCallerIdentity&&" + base(""))))
	f.Add(Prefix + "decodingerror")
	f.Add("")
	p := parser(f, "aws")
	f.Fuzz(func(t *testing.T, token string) {
		checkParse(t, p, token)
	})
}

// FuzzParseURL is FuzzParse below the base64: its input is the URL of a token,
// and the query of one for a host that is taken. The table's tokens are seeds.
func FuzzParseURL(f *testing.F) {
	for _, c := range conformanceCases(f) {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(c.token(), Prefix))
		if err != nil {
			continue
		}
		f.Add(string(raw))
		if _, query, ok := strings.Cut(string(raw), "?"); ok {
			f.Add(query)
		}
	}
	p := parser(f, "aws")
	f.Fuzz(func(t *testing.T, text string) {
		checkParse(t, p, encode(text))
		checkParse(t, p, encode("https://sts.us-west-2.amazonaws.com/?"+text))
	})
}

// checkParse parses a token and holds what is accepted against net/url.
func checkParse(t *testing.T, p *Parser, token string) {
	t.Helper()
	got, err := p.Parse(token, now)
	if err != nil {
		var d *reason.Denial
		if !errors.As(err, &d) {
			t.Fatalf("error %T", err)
		}
		return
	}
	raw, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, Prefix))
	u, err := url.Parse(string(raw))
	if err != nil || u.Host != got.Host.Name || u.User != nil || u.Fragment != "" || u.Path != "/" {
		t.Fatalf("net/url reads %q as %+v (%v)", raw, u, err)
	}
	want, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	have, err := url.ParseQuery(got.Query)
	if err != nil || len(want) != len(have) {
		t.Fatalf("query %q has become %q", u.RawQuery, got.Query)
	}
	for k := range want {
		if len(want[k]) != 1 || len(have[k]) != 1 || want[k][0] != have[k][0] {
			t.Fatalf("parameter %s: %q has become %q", k, want[k], have[k])
		}
	}
	again, err := p.Parse(encode("https://"+got.Host.Name+"/?"+got.Query), now)
	if err == nil && again.Query != got.Query {
		t.Fatalf("%q has become %q", got.Query, again.Query)
	}
}

func BenchmarkParse(b *testing.B) {
	p := parser(b, "aws")
	tok := encode(fill("https://sts.us-west-2.amazonaws.com/?" + base("us-west-2") + "&X-Amz-Security-Token=" + strings.Repeat("IQoJb3JpZ2luX2VjE%2F%2F", 50)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Parse(tok, now); err != nil {
			b.Fatal(err)
		}
	}
}
