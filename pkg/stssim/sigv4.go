package stssim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The rules are those of AWS's documentation,
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
// and, for the times, what STS was seen to do: a presigned request works for 15
// minutes from its date, whatever its X-Amz-Expires says, and one signed in the
// header for 5.
const (
	sigAlgorithm    = "AWS4-HMAC-SHA256"
	sigTerminator   = "aws4_request"
	sigService      = "sts"
	sigTimeFormat   = "20060102T150405Z"
	presignedWindow = 15 * time.Minute
	headerWindow    = 5 * time.Minute
	futureSkew      = 5 * time.Minute
	// maxExpires is the most X-Amz-Expires may say, in seconds: a week.
	maxExpires = 7 * 24 * 60 * 60
)

// signature is a request's authentication as it came.
type signature struct {
	presigned     bool
	accessKeyID   string
	date          string // the scope's
	region        string
	service       string
	terminator    string
	signedHeaders []string
	value         string
	time          time.Time
	timestamp     string
	sessionToken  string
}

// readSignature finds a request's signature, in the Authorization header or in
// the query. It checks form only.
func readSignature(r *http.Request, query []param) (signature, *apiError) {
	header := r.Header.Get("Authorization")
	_, inQuery := first(query, "X-Amz-Signature")
	switch {
	case header != "" && inQuery:
		return signature{}, errIncompleteSignature("The request is signed twice: in the Authorization header and in the query string")
	case header != "":
		return readHeaderSignature(r, header)
	case inQuery:
		return readQuerySignature(query)
	default:
		return signature{}, errMissingAuthentication
	}
}

func readHeaderSignature(r *http.Request, header string) (signature, *apiError) {
	if len(r.Header.Values("Authorization")) > 1 {
		return signature{}, errIncompleteSignature("More than one Authorization header")
	}
	algorithm, rest, _ := strings.Cut(header, " ")
	if algorithm != sigAlgorithm {
		return signature{}, errIncompleteSignature("Unsupported AWS 'algorithm' in the Authorization header")
	}
	fields := map[string]string{}
	for _, part := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[key]; !ok || twice {
			return signature{}, errIncompleteSignature("Authorization header is not a list of different key=value pairs")
		}
		fields[key] = value
	}
	for _, key := range []string{"Credential", "SignedHeaders", "Signature"} {
		if fields[key] == "" {
			return signature{}, errIncompleteSignature("Authorization header requires '" + key + "' parameter.")
		}
	}
	s := signature{
		value:         fields["Signature"],
		signedHeaders: strings.Split(fields["SignedHeaders"], ";"),
		timestamp:     r.Header.Get("X-Amz-Date"),
		sessionToken:  r.Header.Get("X-Amz-Security-Token"),
	}
	if s.timestamp == "" {
		return signature{}, errIncompleteSignature("Authorization header requires existence of an 'X-Amz-Date' header.")
	}
	return s, s.finish(fields["Credential"])
}

func readQuerySignature(query []param) (signature, *apiError) {
	if algorithm, _ := first(query, "X-Amz-Algorithm"); algorithm != sigAlgorithm {
		return signature{}, errIncompleteSignature("AWS query-string parameters must include 'X-Amz-Algorithm' with the value " + sigAlgorithm)
	}
	s := signature{presigned: true}
	credential, _ := first(query, "X-Amz-Credential")
	headers, _ := first(query, "X-Amz-SignedHeaders")
	s.value, _ = first(query, "X-Amz-Signature")
	s.timestamp, _ = first(query, "X-Amz-Date")
	s.sessionToken, _ = first(query, "X-Amz-Security-Token")
	s.signedHeaders = strings.Split(headers, ";")
	for name, value := range map[string]string{
		"X-Amz-Credential": credential, "X-Amz-SignedHeaders": headers, "X-Amz-Date": s.timestamp,
	} {
		if value == "" {
			return signature{}, errIncompleteSignature("AWS query-string parameters must include '" + name + "'")
		}
	}
	if expires, ok := first(query, "X-Amz-Expires"); ok {
		if n, err := strconv.Atoi(expires); err != nil || n < 0 || n > maxExpires {
			return signature{}, errIncompleteSignature("X-Amz-Expires must be a number of seconds, of at most a week")
		}
	}
	return s, s.finish(credential)
}

// finish takes the credential scope and the time apart.
func (s *signature) finish(credential string) *apiError {
	scope := strings.Split(credential, "/")
	if len(scope) != 5 {
		return errIncompleteSignature("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term")
	}
	s.accessKeyID, s.date, s.region, s.service, s.terminator = scope[0], scope[1], scope[2], scope[3], scope[4]
	at, err := time.Parse(sigTimeFormat, s.timestamp)
	// time.Parse takes fractions of a second that the format does not have.
	if err != nil || len(s.timestamp) != len(sigTimeFormat) {
		return errIncompleteSignature("Date must be in ISO-8601 'basic format', like 20060102T150405Z")
	}
	s.time = at
	return nil
}

// check tells whether the request was signed with the secret, for this endpoint
// and lately.
func (s *signature) check(r *http.Request, query []param, body []byte, secret, region string, now time.Time) *apiError {
	if err := s.checkScope(region); err != nil {
		return err
	}
	if err := s.checkTime(now); err != nil {
		return err
	}
	if err := s.checkHeaders(r.Header); err != nil {
		return err
	}
	got, err := hex.DecodeString(s.value)
	if err != nil || !hmac.Equal(got, s.sign(canonicalRequest(r, query, s.signedHeaders, body), secret)) {
		return errSignature("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func (s *signature) checkScope(region string) *apiError {
	switch {
	case s.region != region:
		return errSignature("Credential should be scoped to a valid region. ")
	case s.service != sigService:
		return errSignature("Credential should be scoped to correct service: 'sts'. ")
	case s.terminator != sigTerminator:
		return errSignature("Credential should be scoped with a valid terminator: 'aws4_request'. ")
	case s.date != s.timestamp[:8]:
		return errSignature("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	}
	return nil
}

func (s *signature) checkTime(now time.Time) *apiError {
	now = now.UTC()
	window, minutes := headerWindow, 5
	if s.presigned {
		window, minutes = presignedWindow, 15
	}
	if oldest := now.Add(-window); s.time.Before(oldest) {
		return errSignature(fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			s.timestamp, oldest.Format(sigTimeFormat), now.Format(sigTimeFormat), minutes))
	}
	if newest := now.Add(futureSkew); s.time.After(newest) {
		return errSignature(fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			s.timestamp, newest.Format(sigTimeFormat), now.Format(sigTimeFormat)))
	}
	return nil
}

// checkHeaders wants the list of signed headers in order, with the host and
// with every AWS header the request has: a header that is not signed could have
// been put there by anybody.
func (s *signature) checkHeaders(h http.Header) *apiError {
	for i, name := range s.signedHeaders {
		if name == "" || name != strings.ToLower(name) || i > 0 && s.signedHeaders[i-1] >= name {
			return errIncompleteSignature("SignedHeaders must be sorted, in lower case and without repetition")
		}
		if name != "host" && name != "content-length" && len(h.Values(name)) == 0 {
			return errSignature("'" + name + "' is a 'SignedHeader' and is not in the request.")
		}
	}
	if !slices.Contains(s.signedHeaders, "host") {
		return errSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range h {
		name = strings.ToLower(name)
		if (strings.HasPrefix(name, "x-amz-") || name == "x-k8s-aws-id") && !slices.Contains(s.signedHeaders, name) {
			return errSignature("'" + name + "' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return nil
}

// sign computes the signature of a canonical request.
func (s *signature) sign(canonical []byte, secret string) []byte {
	hash := sha256.Sum256(canonical)
	toSign := sigAlgorithm + "\n" + s.timestamp + "\n" +
		s.date + "/" + s.region + "/" + s.service + "/" + s.terminator + "\n" +
		hex.EncodeToString(hash[:])
	key := mac([]byte("AWS4"+secret), s.date)
	for _, part := range []string{s.region, s.service, s.terminator} {
		key = mac(key, part)
	}
	return mac(key, toSign)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
