package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// AWSAuth is an aws-auth ConfigMap's data, read. It keeps the text it was read
// from, so that a Plan can change one entry and leave the rest as it was.
//
// A Listed table is kept as one too, which then has no text.
type AWSAuth struct {
	data     map[string]string
	sections map[string]*section
	mappings Mappings
	// strict says that entries go by their user ID.
	strict bool
}

// sectionNames are the keys that are read, in the order they are reported.
var sectionNames = [...]string{MapRoles, MapUsers, MapAccounts}

// Parse reads the data of an aws-auth ConfigMap. It never fails as a whole:
// whatever cannot be honoured is left out of Mappings and reported with severity
// Error, and its neighbours stay. A key that is not YAML at all is broken, and
// gives no entries.
//
// What aws-iam-authenticator reads is read the same way: names of fields in any
// case, a pair of quotes for an empty list, unquoted account numbers by their
// digits, only the first YAML document. Where that one keeps a damaged entry
// (an empty username, groups that are no text), it is dropped here.
func Parse(data map[string]string) (*AWSAuth, []Finding) { return ParseWithLastGood(data, nil) }

// ParseWithLastGood is Parse for a table that is in use: a broken key keeps the
// entries it had in last, and a damaged entry stands for its last good form. It is
// found again by its ARN, or else by its username or by its place between the same
// two. What is good counts as it stands: it does not matter then what a damaged
// entry, or a broken key, had for the same principal in the other section. An entry
// that is gone is gone, and so is one in whose place a damaged ARN names somebody
// else. The same data comes to the same again. Last may be nil.
//
// Broken is also a key that is missing while another looks like its misspelling;
// damaged is also an entry that had groups and has none, if its groups may stand
// under another field's name ("group") or "groups:" stands there with nothing
// after it. Nobody means that: "groups: []" says that none are meant.
//
// What Emptied returns has nothing in force yet; see Keep.
func ParseWithLastGood(data map[string]string, last *AWSAuth) (*AWSAuth, []Finding) {
	a := &AWSAuth{data: maps.Clone(data), sections: make(map[string]*section, len(sectionNames))}
	found := make(map[string][]Finding, len(sectionNames))
	for _, key := range sectionNames {
		a.sections[key], found[key] = parseSection(key, data[key])
	}
	lists := func(section, key string) bool {
		s, _ := parseSection(section, data[key])
		return s.broken != nil || len(s.items) > 0
	}
	findings := a.checkKeys(otherKeys(data), lists, found)
	return a, append(findings, a.fill(last, found)...)
}

// otherKeys returns the keys that are not read, sorted.
func otherKeys(data map[string]string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if !slices.Contains(sectionNames[:], key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Mappings returns the entries that are honoured, in the order of the text. The
// caller must not change them.
func (a *AWSAuth) Mappings() Mappings { return a.mappings }

// Broken returns the keys whose text is not a list in YAML.
func (a *AWSAuth) Broken() []string {
	var keys []string
	for _, key := range sectionNames {
		if s := a.sections[key]; s != nil && s.broken != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// Unreadable returns the broken keys that surely were to map somebody: all but
// those that are missing, and broken because another looks somewhat like them.
func (a *AWSAuth) Unreadable() []string {
	return slices.DeleteFunc(a.Broken(), func(key string) bool { return a.sections[key].guessed })
}

// Data returns a copy of the text that was read, by key.
func (a *AWSAuth) Data() map[string]string { return maps.Clone(a.data) }

// sectionPtr returns a section's entries, to be set.
func (m *Mappings) sectionPtr(key string) *[]Entry {
	if key == MapUsers {
		return &m.Users
	}
	return &m.Roles
}

// section returns a section's entries; mapAccounts has none.
func (m Mappings) section(key string) []Entry {
	switch key {
	case MapRoles:
		return m.Roles
	case MapUsers:
		return m.Users
	}
	return nil
}

// parseSection reads one key's text.
func parseSection(key, text string) (*section, []Finding) {
	if len(text) > MaxConfigMapBytes {
		return breakSection(key, fmt.Errorf("%d bytes are more than a ConfigMap holds (%d)", len(text), MaxConfigMapBytes))
	}
	return parseText(key, text)
}

// parseText is parseSection for a text of any size.
func parseText(key, text string) (*section, []Finding) {
	if items, ok := readPlain(key, text); ok {
		return &section{items: items, listed: true}, nil
	}
	return parseYAML(key, text)
}

// parseYAML is parseText for a text of any layout.
func parseYAML(key, text string) (*section, []Finding) {
	doc, err := parseDocument(text)
	if err != nil {
		return breakSection(key, err)
	}
	var findings []Finding
	if doc.more {
		findings = append(findings, Finding{Severity: Warning, Key: key, Index: -1, Message: "only the first of its YAML documents is read"})
	}
	s := &section{listed: doc.root != nil}
	if !s.listed {
		return s, findings
	}
	p := &itemParser{key: key, reader: newReader(text)}
	s.items = make([]item, 0, len(doc.root.Content))
	for i, n := range doc.root.Content {
		p.index = i
		it, err := p.item(n)
		if err != nil {
			return breakSection(key, err)
		}
		s.items = append(s.items, it)
	}
	return s, append(findings, p.findings...)
}

func breakSection(key string, err error) (*section, []Finding) {
	var broken *syntaxError
	if !errors.As(err, &broken) {
		broken = &syntaxError{message: err.Error()}
	}
	return &section{broken: broken}, []Finding{{
		Severity: Error, Key: key, Index: -1, Line: broken.line, Message: broken.message,
	}}
}
