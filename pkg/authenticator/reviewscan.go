package authenticator

import "github.com/capiam/capiam/pkg/authenticator/internal/jsonscan"

// scanReview reads a TokenReview as API servers write it (package jsonscan). For
// anything else it says no, and encoding/json has the word; where it says yes,
// that would say the same (FuzzParseReview).
//
// A token is most of a request and most requests are logins, so this is a tenth
// of what one costs.
func scanReview(body []byte) (*review, bool) {
	s := jsonscan.New(body)
	var r review
	var seen [3]bool
	ok := s.Object(func(key []byte) bool {
		switch string(key) {
		case "apiVersion":
			return jsonscan.Once(&seen[0]) && s.Text(&r.APIVersion)
		case "kind":
			return jsonscan.Once(&seen[1]) && s.Text(&r.Kind)
		case "spec":
			return jsonscan.Once(&seen[2]) && scanSpec(&s, &r)
		case "metadata", "status":
			return s.Skip()
		}
		return false
	})
	return &r, ok && s.End()
}

func scanSpec(s *jsonscan.Scanner, r *review) bool {
	seen := false
	return s.Object(func(key []byte) bool {
		switch string(key) {
		case "token":
			return jsonscan.Once(&seen) && s.Text(&r.Spec.Token)
		case "audiences":
			return s.Skip()
		}
		return false
	})
}
