package stssim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const xmlNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// apiError is an error as STS reports one.
type apiError struct {
	status        int
	code, message string
}

// Errors with STS's own codes and texts:
// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
var (
	errMissingAuthentication = &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	errUnknownToken          = &apiError{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	errExpiredToken          = &apiError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	errThrottling            = &apiError{http.StatusBadRequest, "Throttling", "Rate exceeded"}
)

func errSignature(message string) *apiError {
	return &apiError{http.StatusForbidden, "SignatureDoesNotMatch", message}
}

func errIncompleteSignature(message string) *apiError {
	return &apiError{http.StatusBadRequest, "IncompleteSignature", message}
}

func errValidation(message string) *apiError {
	return &apiError{http.StatusBadRequest, "ValidationError", message}
}

func errAccessDenied(message string) *apiError {
	return &apiError{http.StatusForbidden, "AccessDenied", message}
}

// stamp is a time that is a number of seconds in JSON and a text in XML, as in
// STS's answers.
type stamp time.Time

func (s stamp) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(s).Unix(), 10), nil
}

func (s stamp) MarshalText() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(time.RFC3339)), nil
}

// writeResult answers an action that succeeded, in the form asked for.
func writeResult(w http.ResponseWriter, r *http.Request, action string, result any) {
	id := uuid.NewString()
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, id, map[string]any{
			action + "Response": map[string]any{
				action + "Result":  result,
				"ResponseMetadata": map[string]string{"RequestId": id},
			},
		})
		return
	}
	type metadata struct {
		RequestID string `xml:"RequestId"`
	}
	writeXML(w, http.StatusOK, id, action+"Response", []element{
		{action + "Result", result},
		{"ResponseMetadata", metadata{id}},
	})
}

// writeError answers an action that failed.
func writeError(w http.ResponseWriter, r *http.Request, e *apiError) {
	id := uuid.NewString()
	kind := "Sender"
	if e.status >= 500 {
		kind = "Receiver"
	}
	type body struct {
		Type    string
		Code    string
		Message string
	}
	if wantsJSON(r) {
		writeJSON(w, e.status, id, map[string]any{
			"Error":     body{kind, e.code, e.message},
			"RequestId": id,
		})
		return
	}
	writeXML(w, e.status, id, "ErrorResponse", []element{
		{"Error", body{kind, e.code, e.message}},
		{"RequestId", id},
	})
}

// wantsJSON tells whether the client asks for JSON. STS answers in XML by
// default.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func writeJSON(w http.ResponseWriter, status int, id string, v any) {
	b, err := json.Marshal(v)
	writeBody(w, status, id, "application/json", b, err)
}

// element is one child of an XML answer.
type element struct {
	name  string
	value any
}

func writeXML(w http.ResponseWriter, status int, id, root string, children []element) {
	var b bytes.Buffer
	err := encodeXML(&b, root, children)
	writeBody(w, status, id, "text/xml", b.Bytes(), err)
}

func encodeXML(b *bytes.Buffer, root string, children []element) error {
	enc := xml.NewEncoder(b)
	enc.Indent("", "  ")
	start := xml.StartElement{
		Name: xml.Name{Local: root},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: xmlNamespace}},
	}
	if err := enc.EncodeToken(start); err != nil {
		return err
	}
	for _, child := range children {
		if err := enc.EncodeElement(child.value, xml.StartElement{Name: xml.Name{Local: child.name}}); err != nil {
			return err
		}
	}
	if err := enc.EncodeToken(start.End()); err != nil {
		return err
	}
	return enc.Close()
}

func writeBody(w http.ResponseWriter, status int, id, contentType string, body []byte, err error) {
	if err != nil {
		status, contentType, body = http.StatusInternalServerError, "text/plain", []byte("InternalFailure")
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if id != "" {
		h.Set("X-Amzn-Requestid", id)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
