package mapping

import "slices"

// section is what one key holds.
type section struct {
	// broken says why the text could not be read; it is nil if it could. Guessed
	// says that it may just be missing.
	broken  *syntaxError
	guessed bool
	// listed says that a list stands there, if only an empty one.
	listed bool
	items  []item
	// stands are the last good entries that stand in for damaged items, by place.
	stands map[int]Entry
	// kept is the section that is in force in this one's place, if it is broken
	// or its time for being put right is not over.
	kept *section
	// spoilt says that more items are damaged than were damaged before, and not
	// stood in for.
	spoilt bool
}

// state returns the section whose items are in force.
func (s *section) state() *section {
	if s.kept != nil {
		return s.kept
	}
	return s
}

// holds returns the entry that is in force in the place of an item, if there is
// one. For an account the entry is empty.
func (s *section) holds(i int) (Entry, bool) {
	if e, ok := s.stands[i]; ok {
		return e, true
	}
	return s.items[i].entry, !s.items[i].damaged
}

// inForce counts the items that are honoured, or stood in for.
func (s *section) inForce() int {
	n, st := 0, s.state()
	for i := range st.items {
		if _, ok := st.holds(i); ok {
			n++
		}
	}
	return n
}

// stoodIn tells whether something good stands in for an item, or for the whole
// section if the place is -1.
func (s *section) stoodIn(i int) bool {
	if s.broken != nil {
		return s.inForce() > 0
	}
	_, ok := s.stands[i]
	return ok
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
	// leave says that the item stays in the table if nothing stands in for it:
	// the index reports what is wrong with it.
	leave bool
	// lost is what to report if the entry had groups before. It has none, and
	// nobody has said that none are meant.
	lost *Finding
}

// fill puts in force what the sections hold, with what last had for what is
// broken or damaged, and completes the findings.
func (a *AWSAuth) fill(last *AWSAuth, found map[string][]Finding) []Finding {
	if last == nil {
		last = &AWSAuth{}
	}
	had := last.mappings
	var findings []Finding
	for _, key := range sectionNames {
		s, more := a.sections[key], found[key]
		was := &section{}
		if before := last.sections[key]; before != nil {
			was = before.state()
		}
		if key == MapAccounts {
			a.mappings.Accounts = s.accounts(had.Accounts, was)
		} else {
			more = append(more, s.loseGroups(had.section(key), a.strict)...)
			*a.mappings.sectionPtr(key) = s.entries(had.section(key), was, a.strict)
		}
		for _, f := range more {
			if f.Severity == Error && s.stoodIn(f.Index) {
				f.Message += "; the last good one stays in force"
			} else if f.Index >= 0 && s.items[f.Index].leave {
				continue
			}
			findings = append(findings, f)
		}
	}
	return findings
}

// Emptied returns the sections in which nothing is in force, although nobody has
// written an empty list ("[]"), which is how to say that nobody is meant: those
// that are missing, or blank, or hold nothing but what is damaged, and more of it
// than before.
func (a *AWSAuth) Emptied() []string {
	var keys []string
	for _, key := range sectionNames {
		s := a.sections[key]
		if s.broken == nil && s.inForce() == 0 && (!s.listed || s.spoilt) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Keep puts in force in a section what is in force there in last.
func (a *AWSAuth) Keep(key string, last *AWSAuth) {
	a.sections[key].kept = last.sections[key].state()
	if key == MapAccounts {
		a.mappings.Accounts = last.mappings.Accounts
		return
	}
	*a.mappings.sectionPtr(key) = last.mappings.section(key)
}

// InForce returns how many entries, or accounts, are in force in a section.
func (a *AWSAuth) InForce(key string) int { return a.sections[key].inForce() }

// loseGroups marks the items as damaged that had groups in last and have lost
// them, and reports each.
func (s *section) loseGroups(last []Entry, strict bool) []Finding {
	suspect := func(it item) bool { return it.lost != nil && !it.damaged }
	if !slices.ContainsFunc(s.items, suspect) {
		return nil
	}
	grouped := make(map[string]bool, len(last))
	for _, e := range last {
		if id, ok := entryID(e, strict); ok && len(e.Groups) > 0 {
			grouped[id] = true
		}
	}
	var findings []Finding
	for i, it := range s.items {
		if suspect(it) && grouped[it.id] {
			s.items[i].damaged = true
			findings = append(findings, *it.lost)
		}
	}
	return findings
}

// entryID returns what an entry is found again by. It is false for one that
// names nobody that can be made out.
func entryID(e Entry, strict bool) (string, bool) {
	if strict {
		return e.UserID, e.UserID != ""
	}
	return identity(e, "")
}

// accounts returns the accounts that are honoured: those of last, which was held,
// if the whole key is broken.
func (s *section) accounts(last []string, was *section) []string {
	if s.broken != nil {
		s.kept = was
		return last
	}
	var accounts []string
	for _, it := range s.items {
		if !it.damaged {
			accounts = append(accounts, it.account)
		}
	}
	s.compare(was)
	return accounts
}

// compare looks whether more is damaged than was before, and tells whether
// anything is.
func (s *section) compare(was *section) (damaged bool) {
	n := 0
	for _, it := range s.items {
		if it.damaged {
			n++
		}
	}
	s.spoilt = n > 0 && n > len(was.items)-was.inForce()
	return n > 0
}

// entries returns the entries that are honoured, with those of last, which was
// held, standing in for what is damaged.
func (s *section) entries(last []Entry, was *section, strict bool) []Entry {
	if s.broken != nil {
		s.kept = was
		return last
	}
	if !s.compare(was) || len(was.items) == 0 {
		return s.good()
	}
	spare := newSpareEntries(was, s.items, strict)
	s.stands = make(map[int]Entry)
	stand := func(i int, e Entry, ok bool) {
		if ok {
			s.stands[i] = e
		}
	}
	for i, it := range s.items {
		if it.damaged && !it.nameless() {
			e, ok := spare.take(it)
			stand(i, e, ok)
		}
	}
	for first := 0; first < len(s.items); first++ {
		if !s.items[first].damaged {
			continue
		}
		end := first + 1
		for end < len(s.items) && s.items[end].damaged {
			end++
		}
		if place, ok := spare.between(s.items, first, end); ok {
			for i := first; i < end; i++ {
				if !s.stoodIn(i) && s.items[i].id == "" {
					e, ok := spare.takeAt(place+i-first, s.items[i].entry.Username)
					stand(i, e, ok)
				}
			}
		}
		first = end
	}
	return s.good()
}

// good returns the entries in their order, with what stands in for some.
func (s *section) good() []Entry {
	entries := make([]Entry, 0, len(s.items))
	for i, it := range s.items {
		if e, ok := s.holds(i); ok || it.leave {
			entries = append(entries, e)
		}
	}
	return entries
}

// nameless tells whether nothing in a damaged item says which entry it was.
func (it item) nameless() bool { return it.id == "" && it.entry.Username == "" }

// spareEntries are the last good entries that the new text does not have.
type spareEntries struct {
	byID map[string]Entry
	// byUser has the identity of the one item of last with a username; empty if
	// there were more, or that was damaged too.
	byUser map[string]string
	// order holds the identities of all of last, empty for what was damaged;
	// places where each is in it, or -1 if it is there twice.
	order  []string
	places map[string]int
}

func newSpareEntries(was *section, items []item, strict bool) *spareEntries {
	s := &spareEntries{byID: make(map[string]Entry), byUser: make(map[string]string), places: make(map[string]int)}
	present := make(map[string]bool, len(items))
	for _, it := range items {
		if !it.damaged {
			present[it.id] = true
		}
	}
	for i, it := range was.items {
		id, username := "", it.entry.Username
		if e, inForce := was.holds(i); inForce {
			id, _ = entryID(e, strict)
			if !present[id] && id != "" {
				s.byID[id] = e
			}
			username = e.Username
		}
		if _, twice := s.places[id]; twice {
			s.places[id] = -1
		} else {
			s.places[id] = len(s.order)
		}
		s.order = append(s.order, id)
		if _, twice := s.byUser[username]; twice {
			id = ""
		}
		s.byUser[username] = id
	}
	return s
}

// take returns the entry that a damaged item once was, if there is one: by its
// ARN, or if that is what is damaged by its username, if it was one principal's
// alone. With a name that many share, the others may have been taken out on
// purpose.
func (s *spareEntries) take(it item) (Entry, bool) {
	id := it.id
	if id == "" {
		id = s.byUser[it.entry.Username]
	}
	e, ok := s.byID[id]
	delete(s.byID, id)
	return e, ok
}

// between returns where in last the damaged items from first to before end
// begin, if their place says so: they stand between two good ones, or the ends,
// and in last there were just as many between the same two.
func (s *spareEntries) between(items []item, first, end int) (int, bool) {
	before, after := -1, len(s.order)
	if first > 0 {
		place, known := s.places[items[first-1].id]
		if !known || place < 0 {
			return 0, false
		}
		before = place
	}
	if end < len(items) {
		place, known := s.places[items[end].id]
		if !known || place < 0 {
			return 0, false
		}
		after = place
	}
	return before + 1, after-before-1 == end-first
}

// takeAt returns the entry at a place in last, if it is not there any more and
// the item in its place, which has a username or none, does not say that it is
// another one.
func (s *spareEntries) takeAt(place int, username string) (Entry, bool) {
	id := s.order[place]
	e, ok := s.byID[id]
	if !ok || username != "" && e.Username != username {
		return Entry{}, false
	}
	delete(s.byID, id)
	return e, true
}

// fatalFaults returns what makes an entry useless.
func fatalFaults(key string, e Entry, strict bool) []fault {
	check := checker{}.entry
	if strict {
		check = checker{}.strictEntry
	}
	_, faults := check(key, e)
	return slices.DeleteFunc(faults, func(f fault) bool { return f.level != fatal })
}
