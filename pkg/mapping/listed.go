package mapping

import (
	"fmt"
	"maps"
	"slices"

	"github.com/capiam/capiam/pkg/iam"
)

// Listed is a table that stood in a file, and has been read by whoever knows the
// file's form.
type Listed struct {
	Mappings Mappings
	// Sections are those that the file has a list for, if only an empty one.
	Sections []string
	// Others are the names of lists that nobody reads.
	Others []string
	// LostBy has the field that may be why an entry has no groups, by section
	// and place: a misspelling of it, or "groups" with nothing after it.
	LostBy map[string]map[int]string
	// StrictUserID says that entries go by their UserID, see Source.
	StrictUserID bool
}

// WithLastGood is to a file what ParseWithLastGood is to aws-auth: the same
// mistakes keep the same entries. An entry that is damaged and has no last good form
// stays in the table, and NewIndex reports it. Last may be nil.
func (l Listed) WithLastGood(last *AWSAuth) (*AWSAuth, []Finding) {
	a := &AWSAuth{sections: make(map[string]*section, len(sectionNames)), strict: l.StrictUserID}
	found := make(map[string][]Finding, len(sectionNames))
	for _, key := range sectionNames {
		s := &section{listed: slices.Contains(l.Sections, key)}
		a.sections[key] = s
		if key == MapAccounts {
			for i, account := range l.Mappings.Accounts {
				it := item{account: account, id: account}
				if !iam.IsAccountID(account) {
					it.damaged, it.id = true, ""
					found[key] = append(found[key], Finding{Severity: Error, Key: key, Index: i, Message: fmt.Sprintf("%q is not an account's twelve digits", clip(account))})
				}
				s.items = append(s.items, it)
			}
			continue
		}
		for i, e := range l.Mappings.section(key) {
			it := item{entry: e}
			it.id, _ = entryID(e, l.StrictUserID)
			for _, f := range fatalFaults(key, e, l.StrictUserID) {
				it.damaged, it.leave = true, true
				found[key] = append(found[key], Finding{Severity: Error, Key: key, Index: i, Field: f.field, Message: f.message})
			}
			if name, ok := l.LostBy[key][i]; ok && len(e.Groups) == 0 {
				it.lost = &Finding{Severity: Error, Key: key, Index: i, Field: fieldGroups, Message: lostBy(name)}
			}
			s.items = append(s.items, it)
		}
	}
	findings := a.checkKeys(slices.Sorted(slices.Values(l.Others)), func(string, string) bool { return true }, found)
	return a, append(findings, a.fill(last, found)...)
}

// Replace returns the data to write in place of live so that next holds: next,
// with an empty list for each section that live has a list for and next has none.
// A server takes a section that is just gone for a mistake; see Emptied.
func Replace(live, next map[string]string) map[string]string {
	was, _ := Parse(live)
	will, _ := Parse(next)
	data := maps.Clone(next)
	for _, key := range sectionNames {
		if s := will.sections[key]; was.sections[key].listed && s.broken == nil && !s.listed {
			if data == nil {
				data = make(map[string]string)
			}
			data[key] = "[]\n"
		}
	}
	return data
}
