package stssim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signing is a request to sign, by the SDK's own signer.
type signing struct {
	method    string
	host      string
	region    string
	service   string
	query     string
	form      string
	headers   map[string]string
	presigned bool
	creds     Credentials
	at        time.Time
}

func (s signing) request(t *testing.T) *http.Request {
	t.Helper()
	if s.host == "" {
		s.host = regionHost
	}
	if s.region == "" {
		s.region = region
	}
	if s.service == "" {
		s.service = "sts"
	}
	if s.method == "" {
		s.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(context.Background(), s.method, "https://"+s.host+"/?"+s.query, strings.NewReader(s.form))
	if err != nil {
		t.Fatal(err)
	}
	if s.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	} else {
		req.Body = http.NoBody
		req.ContentLength = 0
	}
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	hash := sha256.Sum256([]byte(s.form))
	payload := hex.EncodeToString(hash[:])
	signer := v4.NewSigner()
	if !s.presigned {
		if err := signer.SignHTTP(context.Background(), s.creds.aws(), req, payload, s.service, s.region, s.at); err != nil {
			t.Fatal(err)
		}
		return req
	}
	signed, headers, err := signer.PresignHTTP(context.Background(), s.creds.aws(), req, payload, s.service, s.region, s.at)
	if err != nil {
		t.Fatal(err)
	}
	if req.URL, err = url.Parse(signed); err != nil {
		t.Fatal(err)
	}
	req.Header = headers.Clone()
	req.Header.Del("Host")
	if s.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	return req
}

// answer is what a server said: an error's code, or "".
func answer(t *testing.T, server http.Handler, req *http.Request) (int, string) {
	t.Helper()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	in := httptest.NewRequest(req.Method, "/?"+req.URL.RawQuery, strings.NewReader(string(body)))
	in.Host = req.URL.Host
	in.Header = req.Header.Clone()
	in.Header.Set("Accept", "application/json")
	rec := httptest.NewRecorder()
	server.ServeHTTP(rec, in)
	var out struct {
		Error struct{ Code, Message, Type string }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
		t.Fatalf("answer is not JSON: %v: %s", err, rec.Body)
	}
	return rec.Code, out.Error.Code
}

const getCallerIdentity = "Action=GetCallerIdentity&Version=2011-06-15"

// TestSignedByTheSDK sends what the SDK's signer makes, in every form.
func TestSignedByTheSDK(t *testing.T) {
	t.Parallel()
	c := newClock()
	state := newTestState(t)
	server := New(state, Options{Clock: c.now})
	role := state.Ensure(Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/team/Dev")})
	user := state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})

	for name, s := range map[string]signing{
		"presigned":                      {query: getCallerIdentity + "&X-Amz-Expires=60", presigned: true, headers: map[string]string{"x-k8s-aws-id": "a"}},
		"presigned without expires":      {query: getCallerIdentity, presigned: true},
		"presigned, long expires":        {query: getCallerIdentity + "&X-Amz-Expires=604800", presigned: true},
		"presigned post":                 {method: "POST", query: getCallerIdentity, presigned: true},
		"presigned post with form":       {method: "POST", form: getCallerIdentity, presigned: true},
		"header, get":                    {query: getCallerIdentity},
		"header, post":                   {method: "POST", form: getCallerIdentity},
		"header with odd spaces":         {query: getCallerIdentity, headers: map[string]string{"x-k8s-aws-id": "a   b"}},
		"odd characters in the query":    {query: getCallerIdentity + "&Odd=%20%2B%2F%3D%26~%C3%A4*&Odd=2&A=", presigned: true},
		"global endpoint":                {host: "sts.amazonaws.com", region: "us-east-1", query: getCallerIdentity, presigned: true},
		"FIPS endpoint":                  {host: "sts-fips.us-east-2.amazonaws.com", region: "us-east-2", query: getCallerIdentity, presigned: true},
		"dual-stack endpoint":            {host: "sts.us-west-2.api.aws", region: "us-west-2", query: getCallerIdentity, presigned: true},
		"header, other AWS header too":   {query: getCallerIdentity, headers: map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}},
		"parameters in an unusual order": {query: "Version=2011-06-15&Zebra=1&Action=GetCallerIdentity", presigned: true},
	} {
		for who, creds := range map[string]*Credentials{"role": role, "user": user} {
			t.Run(name+"/"+who, func(t *testing.T) {
				t.Parallel()
				s := s
				s.creds, s.at = *creds, c.now()
				if status, code := answer(t, server, s.request(t)); status != 200 || code != "" {
					t.Errorf("got %d %s, want 200", status, code)
				}
			})
		}
	}
}

// TestTamperedRequestsAreRefused changes one thing of a good request each.
func TestTamperedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	c := newClock()
	state := newTestState(t)
	server := New(state, Options{Clock: c.now})
	role := state.Ensure(Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")})
	other := state.Ensure(Identity{Profile: "ops", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Ops")})
	user := state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})

	query := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			was := r.URL.RawQuery
			if r.URL.RawQuery = strings.Replace(was, old, new, 1); r.URL.RawQuery == was {
				panic("nothing replaced: " + old)
			}
		}
	}
	setHeader := func(k, v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(k, v) }
	}
	auth := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		}
	}
	presigned := signing{query: getCallerIdentity + "&X-Amz-Expires=60", presigned: true, headers: map[string]string{"x-k8s-aws-id": "cluster"}, creds: *role, at: c.now()}
	header := signing{method: "POST", form: getCallerIdentity, creds: *role, at: c.now()}
	with := func(s signing, change func(*signing)) signing { change(&s); return s }

	for name, test := range map[string]struct {
		sign   signing
		tamper func(*http.Request)
		status int
		code   string
	}{
		"signature":             {presigned, query("X-Amz-Signature=", "X-Amz-Signature=00"), 403, "SignatureDoesNotMatch"},
		"signature not hex":     {presigned, query("X-Amz-Signature=", "X-Amz-Signature=zz"), 403, "SignatureDoesNotMatch"},
		"signature empty":       {presigned, func(r *http.Request) { q := r.URL.Query(); q.Set("X-Amz-Signature", ""); r.URL.RawQuery = q.Encode() }, 403, "SignatureDoesNotMatch"},
		"a parameter added":     {presigned, query("Action=", "Extra=1&Action="), 403, "SignatureDoesNotMatch"},
		"a parameter changed":   {presigned, query("X-Amz-Expires=60", "X-Amz-Expires=61"), 403, "SignatureDoesNotMatch"},
		"the date moved":        {presigned, query("X-Amz-Date=20260304T050607Z", "X-Amz-Date=20260304T050608Z"), 403, "SignatureDoesNotMatch"},
		"the cluster changed":   {presigned, setHeader("X-K8s-Aws-Id", "other"), 403, "SignatureDoesNotMatch"},
		"the cluster missing":   {presigned, func(r *http.Request) { r.Header.Del("X-K8s-Aws-Id") }, 403, "SignatureDoesNotMatch"},
		"the host changed":      {presigned, func(r *http.Request) { r.URL.Host = "sts-fips.eu-central-1.amazonaws.com" }, 403, "SignatureDoesNotMatch"},
		"another region's host": {presigned, func(r *http.Request) { r.URL.Host = "sts.us-east-1.amazonaws.com" }, 403, "SignatureDoesNotMatch"},
		"the method changed":    {presigned, func(r *http.Request) { r.Method = "POST" }, 403, "SignatureDoesNotMatch"},
		"a body added":          {presigned, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) }, 403, "SignatureDoesNotMatch"},
		"the session token cut": {presigned, func(r *http.Request) { q := r.URL.Query(); q.Del("X-Amz-Security-Token"); r.URL.RawQuery = q.Encode() }, 403, "InvalidClientTokenId"},
		"another's access key":  {presigned, query(role.AccessKeyID, other.AccessKeyID), 403, "InvalidClientTokenId"},
		"unknown access key":    {presigned, query(role.AccessKeyID, "ASIAAAAAAAAAAAAAAAAA"), 403, "InvalidClientTokenId"},
		"another's session token": {presigned, func(r *http.Request) {
			q := r.URL.Query()
			q.Set("X-Amz-Security-Token", other.SessionToken)
			r.URL.RawQuery = q.Encode()
		}, 403, "InvalidClientTokenId"},
		"another service":               {with(presigned, func(s *signing) { s.service = "s3" }), nil, 403, "SignatureDoesNotMatch"},
		"another region":                {with(presigned, func(s *signing) { s.region = "us-east-1" }), nil, 403, "SignatureDoesNotMatch"},
		"scope's terminator":            {presigned, query("aws4_request", "aws4_reques"), 403, "SignatureDoesNotMatch"},
		"scope's date":                  {presigned, query("%2F20260304%2F", "%2F20260305%2F"), 403, "SignatureDoesNotMatch"},
		"scope too short":               {presigned, query("%2Fsts%2F", "%2F"), 400, "IncompleteSignature"},
		"date not a date":               {presigned, query("X-Amz-Date=20260304T050607Z", "X-Amz-Date=yesterday"), 400, "IncompleteSignature"},
		"date with a fraction":          {presigned, query("X-Amz-Date=20260304T050607Z", "X-Amz-Date=20260304T050607.1Z"), 400, "IncompleteSignature"},
		"expires a word":                {presigned, query("X-Amz-Expires=60", "X-Amz-Expires=soon"), 400, "IncompleteSignature"},
		"expires over a week":           {presigned, query("X-Amz-Expires=60", "X-Amz-Expires=604801"), 400, "IncompleteSignature"},
		"algorithm":                     {presigned, query("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), 400, "IncompleteSignature"},
		"host not signed":               {presigned, query("X-Amz-SignedHeaders=host%3Bx-k8s-aws-id", "X-Amz-SignedHeaders=x-k8s-aws-id"), 403, "SignatureDoesNotMatch"},
		"signed headers out of order":   {presigned, query("host%3Bx-k8s-aws-id", "x-k8s-aws-id%3Bhost"), 400, "IncompleteSignature"},
		"an AWS header not signed":      {presigned, setHeader("X-Amz-Target", "x"), 403, "SignatureDoesNotMatch"},
		"cluster not signed":            {with(presigned, func(s *signing) { s.headers = nil }), setHeader("X-K8s-Aws-Id", "x"), 403, "SignatureDoesNotMatch"},
		"signed in both places":         {presigned, setHeader("Authorization", "AWS4-HMAC-SHA256 x"), 400, "IncompleteSignature"},
		"presigned, 15 minutes old":     {with(presigned, func(s *signing) { s.at = s.at.Add(-15*time.Minute - time.Second) }), nil, 403, "SignatureDoesNotMatch"},
		"presigned, from the future":    {with(presigned, func(s *signing) { s.at = s.at.Add(5*time.Minute + time.Second) }), nil, 403, "SignatureDoesNotMatch"},
		"presigned, old enough":         {with(presigned, func(s *signing) { s.at = s.at.Add(-15 * time.Minute) }), nil, 200, ""},
		"presigned, almost the future":  {with(presigned, func(s *signing) { s.at = s.at.Add(5 * time.Minute) }), nil, 200, ""},
		"header, 5 minutes old":         {with(header, func(s *signing) { s.at = s.at.Add(-5*time.Minute - time.Second) }), nil, 403, "SignatureDoesNotMatch"},
		"header, good":                  {header, nil, 200, ""},
		"header, body changed":          {header, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(getCallerIdentity + "&A=b")) }, 403, "SignatureDoesNotMatch"},
		"header, query added":           {header, func(r *http.Request) { r.URL.RawQuery = "A=b" }, 403, "SignatureDoesNotMatch"},
		"header, date changed":          {header, setHeader("X-Amz-Date", "20260304T050608Z"), 403, "SignatureDoesNotMatch"},
		"header, no date":               {header, func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 400, "IncompleteSignature"},
		"header, other token":           {header, setHeader("X-Amz-Security-Token", other.SessionToken), 403, "InvalidClientTokenId"},
		"header, algorithm":             {header, auth("AWS4-HMAC-SHA256", "AWS3"), 400, "IncompleteSignature"},
		"header, no signature":          {header, auth("Signature=", "S="), 400, "IncompleteSignature"},
		"header, same key twice":        {header, auth("Signature=", "Credential=x, Signature="), 400, "IncompleteSignature"},
		"header, missing header signed": {header, auth("SignedHeaders=", "SignedHeaders=accept-odd;"), 403, "SignatureDoesNotMatch"},
		"no authentication":             {header, func(r *http.Request) { r.Header.Del("Authorization") }, 403, "MissingAuthenticationToken"},
		"wrong secret":                  {with(header, func(s *signing) { s.creds.SecretAccessKey = user.SecretAccessKey }), nil, 403, "SignatureDoesNotMatch"},
		"user with a session token":     {with(header, func(s *signing) { s.creds = *user; s.creds.SessionToken = role.SessionToken }), nil, 403, "InvalidClientTokenId"},
		"unknown action":                {with(header, func(s *signing) { s.form = "Action=DeleteEverything&Version=2011-06-15" }), nil, 400, "InvalidAction"},
		"no version":                    {with(header, func(s *signing) { s.form = "Action=GetCallerIdentity" }), nil, 400, "InvalidAction"},
		"malformed query":               {presigned, query("Action=", "%zz=1&Action="), 400, "MalformedQueryString"},
		"body too big":                  {header, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat("a", maxBody+1))) }, 413, "RequestEntityTooLarge"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := test.sign.request(t)
			if test.tamper != nil {
				test.tamper(req)
			}
			status, code := answer(t, server, req)
			if status != test.status || code != test.code {
				t.Errorf("got %d %q, want %d %q", status, code, test.status, test.code)
			}
		})
	}
}

func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	c := newClock()
	state := newTestState(t)
	state.now = c.now
	server := New(state, Options{Clock: c.now})
	id := Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev"), Lifetime: time.Hour}
	creds := state.Ensure(id)
	ask := func(creds *Credentials) string {
		s := signing{query: getCallerIdentity, creds: *creds, at: c.now()}
		_, code := answer(t, server, s.request(t))
		return code
	}
	c.add(time.Hour - time.Second)
	if code := ask(creds); code != "" {
		t.Errorf("a second before the end: %s", code)
	}
	if again := state.Ensure(id); *again != *creds {
		t.Error("credentials that still work were replaced")
	}
	c.add(time.Second)
	if code := ask(creds); code != "ExpiredToken" {
		t.Errorf("at the end: %q, want ExpiredToken", code)
	}
	if code := ask(state.Ensure(id)); code != "" {
		t.Errorf("with new credentials: %s", code)
	}
}

func FuzzSignatureForm(f *testing.F) {
	f.Add("Action=GetCallerIdentity&Version=2011-06-15", "AWS4-HMAC-SHA256 Credential=a/20260304/r/sts/aws4_request, SignedHeaders=host, Signature=00")
	f.Add("X-Amz-Signature=&X-Amz-Credential=////", "")
	f.Add("a=%zz;&&=", "AWS4-HMAC-SHA256 ,=,")
	state := newTestState(f)
	server := New(state, Options{})
	f.Fuzz(func(t *testing.T, query, authorization string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = regionHost
		r.URL.RawQuery = query
		r.Header.Set("Authorization", authorization)
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		if rec.Code == http.StatusOK {
			t.Errorf("accepted %q %q", query, authorization)
		}
	})
}
