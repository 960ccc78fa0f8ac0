package mapping

import (
	"strings"

	"github.com/capiam/capiam/pkg/iam"
)

// readPlain reads a key's text that is laid out as Encode and EKS Anywhere lay
// it out, entry by entry, with nothing wrong in it. It is false for any other
// text, which then goes to the YAML parser. Nearly all texts in use are plain,
// and this way a large one is read in a fraction of the time.
//
// What it takes is a subset of YAML: one field a line, values without quotes
// only if Encode writes them so, and quotes without escapes. FuzzPlain checks
// that both ways give the same.
func readPlain(key, text string) ([]item, bool) {
	if key == MapAccounts {
		return nil, false
	}
	p := plainReader{rest: text, arnField: fieldRoleARN}
	if key == MapUsers {
		p.arnField = fieldUserARN
	}
	items := make([]item, 0, strings.Count(text, p.arnField))
	check := checker{}
	for p.next(); !p.end; {
		e, ok := p.entry()
		if !ok {
			return nil, false
		}
		read, faults := check.entry(key, e)
		if read.arn.Kind == iam.KindAssumedRole {
			return nil, false
		}
		for _, f := range faults {
			if f.level == fatal {
				return nil, false
			}
		}
		items = append(items, item{entry: e, id: read.id(e, "")})
	}
	return items, len(items) > 0
}

// plainReader goes through a text line by line.
type plainReader struct {
	rest     string
	arnField string
	// line is the current line without its break; end says that there is none.
	line string
	end  bool
}

// next goes to the next line that is neither blank nor a comment.
func (p *plainReader) next() {
	for p.rest != "" {
		p.line, p.rest, _ = strings.Cut(p.rest, "\n")
		if text := strings.TrimLeft(p.line, " "); text != "" && text[0] != '#' {
			return
		}
		if !isPrintable(p.line) {
			return // no line that is read, and the YAML parser may mind it
		}
	}
	p.line, p.end = "", true
}

// entry reads an entry: "- " and its first field, then a field a line.
func (p *plainReader) entry() (Entry, bool) {
	var e Entry
	var seen [5]bool
	field, ok := strings.CutPrefix(p.line, "- ")
	for first := true; ok; first = false {
		if !first {
			if field, ok = strings.CutPrefix(p.line, "  "); !ok {
				break // the next entry, or the end
			}
		}
		name, value, hasValue := strings.Cut(field, ": ")
		if !hasValue {
			name, ok = strings.CutSuffix(field, ":")
		}
		if !ok || !p.field(&e, &seen, name, value, hasValue) {
			return e, false
		}
	}
	return e, seen != [5]bool{} && (p.end || strings.HasPrefix(p.line, "- "))
}

// field reads one field into the entry, and goes to the line after it.
func (p *plainReader) field(e *Entry, seen *[5]bool, name, value string, hasValue bool) bool {
	once := func(i int) bool {
		again := seen[i]
		seen[i] = true
		return !again
	}
	var ok bool
	switch {
	case hasValue && name == p.arnField:
		e.ARN, ok = plainValue(value)
		ok = ok && once(0)
	case hasValue && name == fieldUsername:
		e.Username, ok = plainValue(value)
		ok = ok && once(1)
	case hasValue && name == fieldUserID:
		e.UserID, ok = plainValue(value)
		ok = ok && once(2)
	case !hasValue && name == fieldGroups:
		p.next()
		e.Groups, ok = p.groups()
		return ok && once(3)
	case !hasValue && name == fieldSSO:
		p.next()
		e.SSO, ok = p.sso()
		return ok && once(4)
	}
	p.next()
	return ok
}

// groups reads a list of groups.
func (p *plainReader) groups() ([]string, bool) {
	groups := make([]string, 0, 2)
	indent := "  - "
	if strings.HasPrefix(p.line, "    - ") {
		indent = "    - "
	}
	for {
		value, ok := strings.CutPrefix(p.line, indent)
		if !ok {
			// Anything that goes on further in is not for here.
			return groups, len(groups) > 0 && !strings.HasPrefix(p.line, "   ")
		}
		g, ok := plainValue(value)
		if !ok {
			return nil, false
		}
		groups = append(groups, g)
		p.next()
	}
}

// sso reads the name of a permission set.
func (p *plainReader) sso() (*SSO, bool) {
	var s SSO
	for {
		field, ok := strings.CutPrefix(p.line, "    ")
		if !ok {
			return &s, s != SSO{} && !strings.HasPrefix(p.line, "   ")
		}
		name, value, _ := strings.Cut(field, ": ")
		var into *string
		switch name {
		case fieldPermissionSet:
			into = &s.PermissionSetName
		case fieldAccountID:
			into = &s.AccountID
		case fieldPartition:
			into = &s.Partition
		}
		if into == nil || *into != "" {
			return nil, false
		}
		if *into, ok = plainValue(value); !ok {
			// An account's digits are taken as they stand.
			if name != fieldAccountID || !iam.IsAccountID(value) {
				return nil, false
			}
			*into = value
		}
		p.next()
	}
}

// plainValue reads a value that is text beyond doubt, and not empty.
func plainValue(s string) (string, bool) {
	if len(s) > 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		quote, text := s[0], s[1:len(s)-1]
		if strings.IndexByte(text, quote) >= 0 || strings.IndexByte(text, '\\') >= 0 || !isPrintable(text) {
			return "", false
		}
		return text, true
	}
	return s, isPlain(s)
}

// isPrintable tells whether s is printable ASCII, blanks included.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
