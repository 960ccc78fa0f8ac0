package webidentity

import "github.com/capiam/capiam/pkg/authenticator/internal/jsonscan"

// Keys that are read, in lower case: encoding/json would take "ISS" for "iss",
// so whatever only differs by case is its to judge.
var (
	headerKeys = []string{"alg", "kid", "crit"}
	claimsKeys = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", stsClaims}
	stsKeys    = []string{"aws_account", "ec2_source_instance_arn"}
)

const stsClaims = "https://sts.amazonaws.com/"

// scanHeader reads a header as AWS writes it (package jsonscan). Where it says
// yes, encoding/json would say the same (FuzzScanHeader).
func scanHeader(raw []byte, h *header) bool {
	s := jsonscan.New(raw)
	var seen [2]bool
	ok := s.Object(func(key []byte) bool {
		switch string(key) {
		case "alg":
			return jsonscan.Once(&seen[0]) && s.Text(&h.Alg)
		case "kid":
			return jsonscan.Once(&seen[1]) && s.Text(&h.Kid)
		}
		return s.Pass(key, headerKeys)
	})
	return ok && s.End()
}

// scanClaims reads claims as AWS writes them (package jsonscan). Where it says
// yes, encoding/json would say the same (FuzzScanClaims).
func scanClaims(raw []byte, c *claims) bool {
	s := jsonscan.New(raw)
	var seen [8]bool
	instant := func(seen *bool, to *instant) bool {
		to.set = true
		return jsonscan.Once(seen) && s.Seconds(&to.sec)
	}
	ok := s.Object(func(key []byte) bool {
		switch string(key) {
		case "iss":
			return jsonscan.Once(&seen[0]) && s.Text(&c.Iss)
		case "sub":
			return jsonscan.Once(&seen[1]) && s.Text(&c.Sub)
		case "aud":
			return jsonscan.Once(&seen[2]) && scanAudiences(&s, &c.Aud)
		case "exp":
			return instant(&seen[3], &c.Exp)
		case "iat":
			return instant(&seen[4], &c.Iat)
		case "nbf":
			return instant(&seen[5], &c.Nbf)
		case "jti":
			return jsonscan.Once(&seen[6]) && s.Text((*string)(&c.Jti))
		case stsClaims:
			return jsonscan.Once(&seen[7]) && scanSTS(&s, c)
		}
		return s.Pass(key, claimsKeys)
	})
	return ok && s.End()
}

func scanSTS(s *jsonscan.Scanner, c *claims) bool {
	var seen [2]bool
	return s.Object(func(key []byte) bool {
		switch string(key) {
		case "aws_account":
			return jsonscan.Once(&seen[0]) && s.Text((*string)(&c.AWS.Account))
		case "ec2_source_instance_arn":
			return jsonscan.Once(&seen[1]) && s.Text((*string)(&c.AWS.Instance))
		}
		return s.Pass(key, stsKeys)
	})
}

func scanAudiences(s *jsonscan.Scanner, to *audiences) bool {
	add := func() bool {
		var a string
		ok := s.Text(&a)
		*to = append(*to, a)
		return ok
	}
	*to = audiences{}
	if s.Peek() == '[' {
		return s.Array(add)
	}
	return add()
}
