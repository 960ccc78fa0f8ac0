package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AWSAuth is an aws-auth ConfigMap's data, read. It keeps the text it was read
// from, so that a Plan can change one entry and leave the rest as it was.
type AWSAuth struct {
	data     map[string]string
	sections map[string]*section
	mappings Mappings
}

// section is what one key holds.
type section struct {
	// broken says why the text could not be read; it is nil if it could.
	broken *syntaxError
	items  []item
}

// item is one entry, or one account, as it stands in the text.
type item struct {
	// entry is what could be read of it; account is for mapAccounts.
	entry   Entry
	account string
	// id is the principal's identity, empty if it cannot be made out.
	id string
	// damaged says that the item is not honoured.
	damaged bool
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
// entries it had in last, and so does a damaged entry, found again by its ARN or
// else by its username. A mistake therefore never takes anybody's access away.
// An entry that is gone is gone. Last may be nil.
func ParseWithLastGood(data map[string]string, last *AWSAuth) (*AWSAuth, []Finding) {
	a := &AWSAuth{data: maps.Clone(data), sections: make(map[string]*section, len(sectionNames))}
	findings := checkKeys(data)
	var had Mappings
	if last != nil {
		had = last.mappings
	}
	for _, key := range sectionNames {
		s, more := parseSection(key, data[key])
		a.sections[key] = s
		var stood map[int]bool
		if key == MapAccounts {
			a.mappings.Accounts, stood = s.accounts(had.Accounts)
		} else {
			*a.mappings.sectionPtr(key), stood = s.entries(had.section(key))
		}
		for i := range more {
			if stood[more[i].Index] && more[i].Severity == Error {
				more[i].Message += "; the last good one stays in force"
			}
		}
		findings = append(findings, more...)
	}
	return a, findings
}

// checkKeys reports keys that nobody reads.
func checkKeys(data map[string]string) []Finding {
	var findings []Finding
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if slices.Contains(sectionNames[:], key) {
			continue
		}
		f := Finding{Severity: Warning, Key: key, Index: -1, Message: "unknown key, not read"}
		for _, name := range sectionNames {
			if strings.EqualFold(key, name) {
				f.Severity = Error
				f.Message = fmt.Sprintf("not read: the key is spelled %s", name)
			}
		}
		findings = append(findings, f)
	}
	return findings
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

// accounts returns the accounts that are honoured: those of last, if the whole
// key is broken. The places are as entries returns them.
func (s *section) accounts(last []string) ([]string, map[int]bool) {
	if s.broken != nil {
		return last, map[int]bool{-1: len(last) > 0}
	}
	var accounts []string
	for _, it := range s.items {
		if !it.damaged {
			accounts = append(accounts, it.account)
		}
	}
	return accounts, nil
}

// entries returns the entries that are honoured, with those of last standing in
// for what is damaged, and the places where one does (-1 for the whole key).
func (s *section) entries(last []Entry) ([]Entry, map[int]bool) {
	if s.broken != nil {
		return last, map[int]bool{-1: len(last) > 0}
	}
	entries := make([]Entry, 0, len(s.items))
	var spare *spareEntries
	stood := make(map[int]bool)
	for i, it := range s.items {
		if !it.damaged {
			entries = append(entries, it.entry)
			continue
		}
		if len(last) == 0 {
			continue
		}
		if spare == nil {
			spare = newSpareEntries(last, s.items)
		}
		if e, ok := spare.take(it); ok {
			entries = append(entries, e)
			stood[i] = true
		}
	}
	return entries, stood
}

// spareEntries are the last good entries that the new text does not have.
type spareEntries struct {
	byID   map[string]Entry
	byUser map[string][]string // username to identities, in order
}

func newSpareEntries(last []Entry, items []item) *spareEntries {
	s := &spareEntries{byID: make(map[string]Entry), byUser: make(map[string][]string)}
	present := make(map[string]bool, len(items))
	for _, it := range items {
		if !it.damaged {
			present[it.id] = true
		}
	}
	for _, e := range last {
		id, ok := identity(e, "")
		if !ok || present[id] {
			continue
		}
		s.byID[id] = e
		s.byUser[e.Username] = append(s.byUser[e.Username], id)
	}
	return s
}

// take returns the entry that a damaged item once was, if there is one.
func (s *spareEntries) take(it item) (Entry, bool) {
	if it.id != "" {
		e, ok := s.byID[it.id]
		delete(s.byID, it.id)
		return e, ok
	}
	if it.entry.Username == "" {
		return Entry{}, false
	}
	for _, id := range s.byUser[it.entry.Username] {
		if e, ok := s.byID[id]; ok {
			delete(s.byID, id)
			return e, true
		}
	}
	return Entry{}, false
}

// parseSection reads one key's text.
func parseSection(key, text string) (*section, []Finding) {
	if items, ok := readPlain(key, text); ok {
		return &section{items: items}, nil
	}
	return parseYAML(key, text)
}

// parseYAML is parseSection for a text of any layout.
func parseYAML(key, text string) (*section, []Finding) {
	doc, err := parseDocument(text)
	if err != nil {
		return breakSection(key, err)
	}
	var findings []Finding
	if doc.more {
		findings = append(findings, Finding{Severity: Warning, Key: key, Index: -1, Message: "only the first of its YAML documents is read"})
	}
	s := &section{}
	if doc.root == nil {
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
