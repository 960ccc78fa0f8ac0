package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// Variables a username or group may hold, each written {{Name}}.
const (
	VarAccountID         = "AccountID"
	VarSessionName       = "SessionName"
	VarSessionNameRaw    = "SessionNameRaw"
	VarAccessKeyID       = "AccessKeyID"
	VarEC2PrivateDNSName = "EC2PrivateDNSName"
)

// Variables returns the names of all variables a template may hold, sorted.
func Variables() []string {
	return []string{VarAccessKeyID, VarAccountID, VarEC2PrivateDNSName, VarSessionName, VarSessionNameRaw}
}

// NeedsSession tells whether a variable has a value only for a presigned token.
// A JWT names neither a session nor an access key.
func NeedsSession(variable string) bool {
	switch variable {
	case VarSessionName, VarSessionNameRaw, VarAccessKeyID:
		return true
	}
	return false
}

// Template is a username or group in which {{Name}} stands for something known
// only at login. The zero Template is the empty text.
type Template struct {
	// text is what was written; all there is to render if parts is nil.
	text  string
	parts []part
}

// part is a piece of literal text, or a variable.
type part struct {
	literal  string
	variable string
}

// MissingValueError says that a template cannot be rendered for a login, as the
// token does not carry what a variable stands for. Such a login must be denied:
// rendering it empty would make one user out of many.
type MissingValueError struct {
	Variable string
}

func (e *MissingValueError) Error() string {
	return fmt.Sprintf("no value for {{%s}} in this kind of token", e.Variable)
}

// ParseTemplate takes a username or group apart. A variable that does not exist
// is an error, because what aws-iam-authenticator does with one (leave it as it
// stands) gives everybody the same name.
func ParseTemplate(s string) (Template, error) {
	t := Template{text: s}
	if !strings.Contains(s, "{{") {
		return t, nil
	}
	for rest := s; rest != ""; {
		before, after, found := strings.Cut(rest, "{{")
		if before != "" {
			t.parts = append(t.parts, part{literal: before})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return Template{}, fmt.Errorf("%q: {{ without }}", clip(s))
		}
		if !slices.Contains(Variables(), name) {
			return Template{}, fmt.Errorf("%q: unknown variable {{%s}} (written exactly, one of %s)", clip(s), clip(name), strings.Join(Variables(), ", "))
		}
		t.parts = append(t.parts, part{variable: name})
		rest = tail
	}
	return t, nil
}

// String returns the template as it was written.
func (t Template) String() string { return t.text }

// Variables returns the variables the template uses, in order, each once.
func (t Template) Variables() []string {
	var names []string
	for _, p := range t.parts {
		if p.variable != "" && !slices.Contains(names, p.variable) {
			names = append(names, p.variable)
		}
	}
	return names
}

// Render puts the values in. It is a single pass: a value that looks like a
// variable is not looked at again. A value that is missing or empty gives a
// *MissingValueError.
func (t Template) Render(value func(name string) (string, bool)) (string, error) {
	if t.parts == nil {
		return t.text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.variable == "" {
			b.WriteString(p.literal)
			continue
		}
		v, ok := value(p.variable)
		if !ok || v == "" {
			return "", &MissingValueError{Variable: p.variable}
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// Values are what the variables stand for at one login. An empty field is a
// value the login does not have.
type Values struct {
	AccountID string
	// SessionName is the session as STS said it.
	SessionName       string
	AccessKeyID       string
	EC2PrivateDNSName string
}

// Value returns a variable's value, in the form Template.Render wants.
// {{SessionName}} has "-" where the session has "@", {{SessionNameRaw}} has it
// unchanged, as with aws-iam-authenticator.
func (v Values) Value(name string) (string, bool) {
	var s string
	switch name {
	case VarAccountID:
		s = v.AccountID
	case VarSessionName:
		s = strings.ReplaceAll(v.SessionName, "@", "-")
	case VarSessionNameRaw:
		s = v.SessionName
	case VarAccessKeyID:
		s = v.AccessKeyID
	case VarEC2PrivateDNSName:
		s = v.EC2PrivateDNSName
	}
	return s, s != ""
}

// IsInstanceID tells whether a session name is an EC2 instance's ID ("i-" and 8
// or 17 hexadecimal digits), which is what EC2 calls an instance's session.
func IsInstanceID(session string) bool {
	digits, ok := strings.CutPrefix(session, "i-")
	return ok && (len(digits) == 8 || len(digits) == 17) && isHex(digits)
}

// isHex tells whether s holds lower-case hexadecimal digits only.
func isHex(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
