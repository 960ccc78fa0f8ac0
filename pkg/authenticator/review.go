package authenticator

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/reason"
)

// The versions of TokenReview an API server may send. The answer has to be in
// the request's.
const (
	apiV1      = "authentication.k8s.io/v1"
	apiV1beta1 = "authentication.k8s.io/v1beta1"
	kindReview = "TokenReview"
)

// review is a TokenReview, as far as this server reads it. What audiences the
// API server wants does not matter: an answer that names none stands for the
// API server's own.
type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token string `json:"token"`
	} `json:"spec"`
}

var errNotReview = errors.New("expected a request body to be a TokenReview of " + apiV1 + " or " + apiV1beta1)

// parseReview reads a request's body.
func parseReview(body []byte) (*review, error) {
	r, ok := scanReview(body)
	if !ok {
		r = &review{}
		if err := json.Unmarshal(body, r); err != nil {
			return nil, errNotReview
		}
	}
	// One that says nothing of its type is taken for what it looks like, as the
	// original does with any.
	untyped := r.Kind == "" && r.APIVersion == "" && r.Spec.Token != ""
	if !untyped && (r.Kind != kindReview || r.APIVersion != apiV1 && r.APIVersion != apiV1beta1) {
		return nil, errNotReview
	}
	return r, nil
}

// Keys of a user's extra values: the original's, and kube-apiserver's own for a
// JWT's ID.
const (
	extraARN          = "arn"
	extraCanonicalARN = "canonicalArn"
	extraSessionName  = "sessionName"
	extraAccessKeyID  = "accessKeyId"
	extraPrincipalID  = "principalId"
	extraPrincipalID2 = "sigs.k8s.io/aws-iam-authenticator/principalId"
	extraCredentialID = "authentication.kubernetes.io/credential-id"
)

// appendReview writes the answer for a decision, in the request's version. An
// API server takes an answer without one for what it has asked for.
func appendReview(b []byte, apiVersion string, dec *Decision, scrubbed bool) []byte {
	b = append(b, '{')
	if apiVersion != "" {
		b = append(b, `"apiVersion":"`...)
		b = append(b, apiVersion...)
		b = append(b, `","kind":"TokenReview",`...)
	}
	b = append(b, `"status":{"authenticated":`...)
	if dec.Code != reason.OK {
		b = append(b, `false`...)
		if dec.Code != reason.NotOurs {
			b = append(b, `,"error":`...)
			b = appendString(b, string(dec.Code)+": "+dec.Detail)
		}
		return append(b, "}}\n"...)
	}
	b = append(b, `true,"user":{"username":`...)
	b = appendString(b, dec.Username)
	if uid := userUID(dec, scrubbed); uid != "" {
		b = append(b, `,"uid":`...)
		b = appendString(b, uid)
	}
	if len(dec.Groups) > 0 {
		b = append(b, `,"groups":`...)
		b = appendStrings(b, dec.Groups)
	}
	if !scrubbed {
		b = append(b, `,"extra":{`...)
		b = appendExtra(b, dec.Token, dec.Identity)
		b = append(b, '}')
	}
	return append(b, "}}}\n"...)
}

// userUID is the original's. A JWT has no unique ID of its principal, and none
// is made up.
func userUID(dec *Decision, scrubbed bool) string {
	switch {
	case scrubbed:
		return "aws-iam-authenticator:administrative:" + dec.Username
	case dec.Identity.UserID == "":
		return ""
	}
	return "aws-iam-authenticator:" + dec.Identity.ARN.Account + ":" + dec.Identity.UserID
}

func appendExtra(b []byte, token string, id *identity.Identity) []byte {
	add := func(k, v string) {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, k...)
		b = append(b, `":[`...)
		b = appendString(b, v)
		b = append(b, ']')
	}
	add(extraARN, id.ARN.String())
	add(extraCanonicalARN, id.Canonical)
	if token == metrics.TokenJWT {
		// A JWT has no session, key or unique ID. An empty value would be taken
		// for one.
		if id.JTI != "" {
			add(extraCredentialID, "JTI="+id.JTI)
		}
		return b
	}
	add(extraSessionName, id.SessionName)
	add(extraAccessKeyID, id.AccessKeyID)
	add(extraPrincipalID, id.UserID)
	add(extraPrincipalID2, id.UserID)
	return b
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString writes a JSON string.
func appendString(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	q, err := json.Marshal(s)
	if err != nil { // no string fails
		return append(b, `""`...)
	}
	return append(b, q...)
}

// appendTrouble writes a metav1.Status, which is where the API server finds the
// text for its log when the answer is not 200.
func appendTrouble(b []byte, code int, dec *Decision) []byte {
	b = append(b, `{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","reason":"ServiceUnavailable","code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, string(dec.Code)+": "+dec.Detail)
	return append(b, "}\n"...)
}

// quoted shortens and quotes a name for a message.
func quoted(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.QuoteToASCII(s)
}
