// Package jsonscan reads the JSON of a login in one pass and without copying:
// the TokenReview around the token, a JWT's header and claims, and the answer of
// STS. Those are most of what a login costs beside its signature, and
// encoding/json takes ten times as long.
//
// It takes a part of JSON only: no escapes, no characters but printable ASCII,
// no key twice (which is the caller's to see, by Once), keys in their own
// spelling (Folds). For anything else it says no, and the caller asks
// encoding/json. Where it says yes, that would say the same: each caller has a
// fuzz target that compares the two.
package jsonscan

// maxDepth bounds how deep a value that nobody reads may go.
const maxDepth = 16

// Scanner is a place in a text.
type Scanner struct {
	b []byte
	i int
}

// New returns a scanner at the beginning of a text.
func New(b []byte) Scanner { return Scanner{b: b} }

// Once tells whether something is seen for the first time. encoding/json takes
// the last of two equal keys, or merges them, and leaves no trace of it.
func Once(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// Folds tells whether encoding/json would take a key for another one: it does
// not heed case. The name is in lower case.
func Folds(key []byte, name string) bool {
	if len(key) != len(name) {
		return false
	}
	for i, c := range key {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// End tells whether nothing is left but white space.
func (s *Scanner) End() bool {
	s.space()
	return s.i == len(s.b)
}

func (s *Scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// Peek returns the next character that is not white space; 0 at the end.
func (s *Scanner) Peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// Take steps over one character, if it is the next.
func (s *Scanner) Take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// Object reads an object, and has each value read by the function. The key is
// a part of the text.
func (s *Scanner) Object(value func(key []byte) bool) bool {
	if !s.Take('{') {
		return false
	}
	if s.Take('}') {
		return true
	}
	for {
		key, ok := s.raw()
		if !ok || !s.Take(':') || !value(key) {
			return false
		}
		if s.Take('}') {
			return true
		}
		if !s.Take(',') {
			return false
		}
	}
}

// Array reads an array, and has each value read by the function.
func (s *Scanner) Array(value func() bool) bool {
	if !s.Take('[') {
		return false
	}
	if s.Take(']') {
		return true
	}
	for {
		if !value() {
			return false
		}
		if s.Take(']') {
			return true
		}
		if !s.Take(',') {
			return false
		}
	}
}

// plain marks the characters that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// raw reads a string without escapes and returns what is between the quotes.
func (s *Scanner) raw() ([]byte, bool) {
	if !s.Take('"') {
		return nil, false
	}
	b, start := s.b, s.i
	i := start
	for i < len(b) && plain[b[i]] {
		i++
	}
	if i == len(b) || b[i] != '"' {
		return nil, false
	}
	s.i = i + 1
	return b[start:i], true
}

// Text reads a string.
func (s *Scanner) Text(to *string) bool {
	b, ok := s.raw()
	if ok {
		*to = string(b)
	}
	return ok
}

// Seconds reads a whole number that is not negative and has at most twelve
// digits.
func (s *Scanner) Seconds(to *int64) bool {
	s.space()
	start, n := s.i, int64(0)
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		if s.i-start == 12 {
			return false
		}
		n = 10*n + int64(s.b[s.i]-'0')
		s.i++
	}
	if s.i == start || s.b[start] == '0' && s.i > start+1 {
		return false
	}
	*to = n
	// What follows a value is a comma or a bracket, and not the rest of a
	// longer number: whoever reads on sees to that.
	return true
}

// Pass steps over the value of a key that is none of the names, which are in
// lower case. One that encoding/json would take for one of them is its to judge.
func (s *Scanner) Pass(key []byte, names []string) bool {
	for _, name := range names {
		if Folds(key, name) {
			return false
		}
	}
	return s.Skip()
}

// Skip steps over any value.
func (s *Scanner) Skip() bool { return s.skip(0) }

func (s *Scanner) skip(depth int) bool {
	s.space()
	if s.i == len(s.b) || depth > maxDepth {
		return false
	}
	switch c := s.b[s.i]; {
	case c == '"':
		_, ok := s.raw()
		return ok
	case c == '{':
		return s.Object(func([]byte) bool { return s.skip(depth + 1) })
	case c == '[':
		return s.Array(func() bool { return s.skip(depth + 1) })
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range []string{"null", "true", "false"} {
		if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return true
		}
	}
	return false
}

// number steps over a number (RFC 8259, section 6).
func (s *Scanner) number() bool {
	if s.next('-') && s.i == len(s.b) {
		return false
	}
	if !s.next('0') && !s.digits() {
		return false
	}
	if s.next('.') && !s.digits() {
		return false
	}
	if s.next('e') || s.next('E') {
		_ = s.next('+') || s.next('-')
		return s.digits()
	}
	return true
}

// next steps over a character that follows at once.
func (s *Scanner) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *Scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		s.i++
	}
	return s.i > start
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
