package stsclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/capiam/capiam/pkg/authenticator/identity"
	"github.com/capiam/capiam/pkg/authenticator/internal/jsonscan"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

// caller is what GetCallerIdentity answers.
type caller struct {
	Account string `json:"Account"`
	Arn     string `json:"Arn"`
	UserID  string `json:"UserId"`
}

// answer is GetCallerIdentity's, in JSON.
type answer struct {
	Response struct {
		Result caller `json:"GetCallerIdentityResult"`
	} `json:"GetCallerIdentityResponse"`
}

// readIdentity reads the answer to a GetCallerIdentity and holds its parts
// against each other.
func readIdentity(body []byte, partition string) (identity.Identity, error) {
	r, err := parseAnswer(body)
	if err != nil {
		return identity.Identity{}, err
	}
	arn, err := iam.ParseARN(r.Arn)
	if err != nil {
		return identity.Identity{}, err
	}
	if arn.Partition != partition {
		return identity.Identity{}, fmt.Errorf("principal is in partition %s, this cluster takes %s", arn.Partition, partition)
	}
	if arn.Account != r.Account {
		return identity.Identity{}, errors.New("account and ARN do not agree")
	}
	id := identity.Identity{ARN: arn, Canonical: arn.Principal().StripRolePath().String(), UserID: r.UserID}
	if r.UserID == "" {
		return identity.Identity{}, errors.New("no UserId")
	}
	switch arn.Kind {
	case iam.KindRole, iam.KindAssumedRole:
		// A role's UserId is its own ID and the session's name.
		unique, session, ok := strings.Cut(r.UserID, ":")
		if !ok || unique == "" || strings.IndexByte(session, ':') >= 0 {
			return identity.Identity{}, errors.New("malformed UserId: want a role's ID and a session name")
		}
		id.UserID, id.SessionName = unique, session
		// An EC2 instance's credentials have its ID as the session's name.
		id.InstanceID = session
	}
	return id, nil
}

// parseAnswer reads an answer, by encoding/json where scanAnswer leaves it.
func parseAnswer(body []byte) (caller, error) {
	if r, ok := scanAnswer(body); ok {
		return r, nil
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return caller{}, errors.New("not one JSON document of the expected form")
	}
	return a.Response.Result, nil
}

// Keys that are read, in lower case.
var (
	answerKeys   = []string{"getcalleridentityresponse"}
	responseKeys = []string{"getcalleridentityresult"}
	callerKeys   = []string{"account", "arn", "userid"}
)

// scanAnswer reads an answer as STS writes it (package jsonscan). Where it says
// yes, encoding/json would say the same (FuzzScanAnswer).
func scanAnswer(body []byte) (caller, bool) {
	var r caller
	s := jsonscan.New(body)
	var seen [5]bool
	ok := s.Object(func(key []byte) bool {
		if string(key) != "GetCallerIdentityResponse" {
			return s.Pass(key, answerKeys)
		}
		return jsonscan.Once(&seen[0]) && s.Object(func(key []byte) bool {
			if string(key) != "GetCallerIdentityResult" {
				return s.Pass(key, responseKeys)
			}
			return jsonscan.Once(&seen[1]) && s.Object(func(key []byte) bool {
				switch string(key) {
				case "Account":
					return jsonscan.Once(&seen[2]) && s.Text(&r.Account)
				case "Arn":
					return jsonscan.Once(&seen[3]) && s.Text(&r.Arn)
				case "UserId":
					return jsonscan.Once(&seen[4]) && s.Text(&r.UserID)
				}
				return s.Pass(key, callerKeys)
			})
		})
	})
	return r, ok && s.End()
}

// refusal makes a denial of an answer other than 200.
func refusal(host string, status int, body []byte) error {
	// As the original does: the word anywhere in the body, whatever the form.
	if status == http.StatusTooManyRequests || bytes.Contains(body, []byte("Throttling")) || bytes.Contains(body, []byte("TooManyRequests")) {
		return reason.New(reason.STSThrottled, host+" is throttling (status "+strconv.Itoa(status)+")")
	}
	if status >= 500 || status < 400 {
		return reason.New(reason.STSUnreachable, host+" answered with status "+strconv.Itoa(status))
	}
	code, message := errorCode(body)
	switch code {
	case "SignatureDoesNotMatch":
		switch {
		case strings.HasPrefix(message, "Signature expired"):
			return reason.New(reason.Expired, host+": the signature has expired")
		case strings.HasPrefix(message, "Signature not yet current"):
			return reason.New(reason.ClockAhead, host+": the signature is from the future: the client's clock is ahead")
		}
		return reason.New(reason.WrongCluster, host+": the signature does not match: the token was made for another cluster ID, or is damaged")
	case "ExpiredToken", "ExpiredTokenException":
		return reason.New(reason.Expired, host+": the credentials the token was made with have expired")
	case "InvalidClientTokenId":
		return reason.New(reason.STSRefused, host+": the access key does not exist (InvalidClientTokenId)")
	case "":
		return reason.New(reason.STSRefused, host+" refused with status "+strconv.Itoa(status))
	}
	return reason.New(reason.STSRefused, host+" refused with status "+strconv.Itoa(status)+" ("+code+")")
}

// errorCode reads the error STS sends, as JSON or as XML. Only a code made of
// letters is taken, so that nothing a proxy echoes gets into the log.
func errorCode(body []byte) (code, message string) {
	var e struct {
		Error struct {
			Code    string `json:"Code"`
			Message string `json:"Message"`
		} `json:"Error"`
	}
	if json.Unmarshal(body, &e) == nil {
		code, message = e.Error.Code, e.Error.Message
	} else {
		code, message = element(body, "Code"), element(body, "Message")
	}
	if len(code) > 64 {
		return "", ""
	}
	for i := range len(code) {
		if c := code[i] | 0x20; c < 'a' || c > 'z' {
			return "", ""
		}
	}
	return code, message
}

// element returns the text of the first XML element of a name.
func element(body []byte, name string) string {
	_, rest, ok := bytes.Cut(body, []byte("<"+name+">"))
	if !ok {
		return ""
	}
	text, _, ok := bytes.Cut(rest, []byte("</"+name+">"))
	if !ok {
		return ""
	}
	return string(text)
}
