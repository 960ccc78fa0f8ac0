package authenticator

// scanReview reads a TokenReview as API servers write it, in one pass and
// without copying. It takes a part of JSON only: no escapes, no characters but
// ASCII, no numbers, no key twice, keys in their own spelling. For anything
// else it says no, and encoding/json has the word; where it says yes, that
// would say the same (FuzzParseReview).
//
// A token is most of a request and most requests are logins, so this is a tenth
// of what one costs.
func scanReview(body []byte) (*review, bool) {
	s := scanner{b: body}
	var r review
	var seen [3]bool
	ok := s.object(func(key []byte) bool {
		switch string(key) {
		case "apiVersion":
			return once(&seen[0]) && s.text(&r.APIVersion)
		case "kind":
			return once(&seen[1]) && s.text(&r.Kind)
		case "spec":
			return once(&seen[2]) && s.spec(&r)
		case "metadata", "status":
			return s.skip(0)
		}
		return false
	})
	s.space()
	return &r, ok && s.i == len(s.b)
}

func once(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// scanner is a place in a text.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) spec(r *review) bool {
	seen := false
	return s.object(func(key []byte) bool {
		switch string(key) {
		case "token":
			return once(&seen) && s.text(&r.Spec.Token)
		case "audiences":
			return s.skip(0)
		}
		return false
	})
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// take steps over one character, if it is the next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// object reads an object, and has each value read by the function.
func (s *scanner) object(value func(key []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		key, ok := s.raw()
		if !ok || !s.take(':') || !value(key) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// raw reads a string without escapes and returns what is between the quotes.
func (s *scanner) raw() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	start := s.i
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c == '"' {
			text := s.b[start:s.i]
			s.i++
			return text, true
		}
		if c < ' ' || c == '\\' || c >= 0x7f {
			return nil, false
		}
		s.i++
	}
	return nil, false
}

func (s *scanner) text(to *string) bool {
	b, ok := s.raw()
	if ok {
		*to = string(b)
	}
	return ok
}

// skip steps over any value but a number.
func (s *scanner) skip(depth int) bool {
	s.space()
	if s.i == len(s.b) || depth > 16 {
		return false
	}
	switch s.b[s.i] {
	case '"':
		_, ok := s.raw()
		return ok
	case '{':
		return s.object(func([]byte) bool { return s.skip(depth + 1) })
	case '[':
		s.i++
		if s.take(']') {
			return true
		}
		for {
			if !s.skip(depth + 1) {
				return false
			}
			if s.take(']') {
				return true
			}
			if !s.take(',') {
				return false
			}
		}
	}
	for _, word := range []string{"null", "true", "false"} {
		if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return true
		}
	}
	return false
}
