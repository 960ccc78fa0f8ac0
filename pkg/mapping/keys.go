package mapping

import (
	"fmt"
	"strings"
)

// checkKeys reports keys that nobody reads. If one lists something and looks like
// the misspelling of a section that is missing, it breaks that section, and is
// reported with it.
func (a *AWSAuth) checkKeys(others []string, lists func(section, key string) bool, found map[string][]Finding) []Finding {
	var findings []Finding
	for _, key := range others {
		f := Finding{Severity: Warning, Key: key, Index: -1, Message: "unknown key, not read"}
		name, sure := misspelt(key)
		if name == "" {
			findings = append(findings, f)
			continue
		}
		s := a.sections[name]
		missing := s.broken == nil && !s.listed
		if missing || sure {
			f.Severity = Error
			f.Message = "not read: the key is spelled " + name
		}
		if !missing || !lists(name, key) {
			findings = append(findings, f)
			continue
		}
		s.broken, s.guessed = &syntaxError{message: fmt.Sprintf("its key is spelled %q", clip(key))}, !sure
		found[name] = append(found[name], f)
	}
	return findings
}

// MisspeltGroups tells whether a field's name looks like a misspelling of
// "groups".
func MisspeltGroups(name string) bool {
	return len(name) < 10 && distance(strings.ToLower(name), fieldGroups) <= 2
}

// misspelt returns the section whose name a key looks like, or none, and whether
// they are the same but for capital letters. Two letters may be wrong; the
// sections' names are further apart than that.
func misspelt(key string) (name string, sure bool) {
	best := 3
	for _, candidate := range sectionNames {
		if strings.EqualFold(key, candidate) {
			return candidate, true
		}
		if len(key) >= len(candidate)+best {
			continue // and need not be compared, however long it is
		}
		if d := distance(strings.ToLower(key), strings.ToLower(candidate)); d < best {
			name, best = candidate, d
		}
	}
	return name, false
}

// distance returns how many bytes must be put in, taken out or changed to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
