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
// else by its username, or else by its place between the same two. A mistake therefore never takes anybody's access away.
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
	if !slices.ContainsFunc(s.items, func(it item) bool { return it.damaged }) || len(last) == 0 {
		return s.good(nil), nil
	}
	spare := newSpareEntries(last, s.items)
	stands := make(map[int]Entry)
	stood := make(map[int]bool)
	stand := func(i int, e Entry, ok bool) {
		if ok {
			stands[i], stood[i] = e, true
		}
	}
	for i, it := range s.items {
		if it.damaged && !it.nameless() {
			e, ok := spare.take(it)
			stand(i, e, ok)
		}
	}
	for i, it := range s.items {
		if it.damaged && it.nameless() {
			e, ok := spare.takeBetween(s.items, i)
			stand(i, e, ok)
		}
	}
	return s.good(stands), stood
}

// good returns the entries in their order, with others for those at some places.
func (s *section) good(stands map[int]Entry) []Entry {
	entries := make([]Entry, 0, len(s.items))
	for i, it := range s.items {
		if e, ok := stands[i]; ok {
			entries = append(entries, e)
		} else if !it.damaged {
			entries = append(entries, it.entry)
		}
	}
	return entries
}

// nameless tells whether nothing in a damaged item says which entry it was.
func (it item) nameless() bool { return it.id == "" && it.entry.Username == "" }

// spareEntries are the last good entries that the new text does not have.
type spareEntries struct {
	byID   map[string]Entry
	byUser map[string][]string // username to identities, in order
	// order holds the identities of all of last; places where each is in it,
	// or -1 if it is there twice.
	order  []string
	places map[string]int
}

func newSpareEntries(last []Entry, items []item) *spareEntries {
	s := &spareEntries{byID: make(map[string]Entry), byUser: make(map[string][]string), places: make(map[string]int)}
	present := make(map[string]bool, len(items))
	for _, it := range items {
		if !it.damaged {
			present[it.id] = true
		}
	}
	for _, e := range last {
		id, ok := identity(e, "")
		if _, twice := s.places[id]; twice {
			s.places[id] = -1
		} else {
			s.places[id] = len(s.order)
		}
		s.order = append(s.order, id)
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
	for _, id := range s.byUser[it.entry.Username] {
		if e, ok := s.byID[id]; ok {
			delete(s.byID, id)
			return e, true
		}
	}
	return Entry{}, false
}

// takeBetween returns the entry that a nameless item once was, if its place says
// so: it stands with other damaged ones between two good ones, or the ends, and
// in the last good table there were just as many between the same two.
func (s *spareEntries) takeBetween(items []item, i int) (Entry, bool) {
	first, end := i, i+1
	for first > 0 && items[first-1].damaged {
		first--
	}
	for end < len(items) && items[end].damaged {
		end++
	}
	before, after := -1, len(s.order)
	if first > 0 {
		place, known := s.places[items[first-1].id]
		if !known || place < 0 {
			return Entry{}, false
		}
		before = place
	}
	if end < len(items) {
		place, known := s.places[items[end].id]
		if !known || place < 0 {
			return Entry{}, false
		}
		after = place
	}
	if after-before-1 != end-first {
		return Entry{}, false
	}
	id := s.order[before+1+i-first]
	e, ok := s.byID[id]
	delete(s.byID, id)
	return e, ok
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
