package mapping

// section is what one key holds.
type section struct {
	// broken says why the text could not be read; it is nil if it could. Guessed
	// says that it may just be missing.
	broken  *syntaxError
	guessed bool
	// listed says that a list stands there, if only an empty one.
	listed bool
	// items are those of the text.
	items []item
	// force are the items that count: those of the text, or if kept those that
	// counted before, because the text is broken, or its time for being put right
	// is not over.
	force []item
	kept  bool
	// spoilt says that more items are damaged than were damaged before, and not
	// stood in for.
	spoilt bool
}

// item is one entry, or one account, as it stands in the text.
type item struct {
	// entry is what could be read of it; account is for mapAccounts.
	entry   Entry
	account string
	// id is what it is found again by: the principal's identity, the account, or
	// in a table that goes by user ID that one. It is empty if it cannot be made
	// out, and may be there for a damaged item too.
	id string
	// damaged says that the item is not honoured.
	damaged bool
	// leave says that the item stays in the table if nothing stands in for it:
	// the index reports what is wrong with it.
	leave bool
	// blank says that the item only holds a place, in a section that is kept.
	blank bool
	// lost is what to report if the entry had groups before. It has none, and
	// nobody has said that none are meant.
	lost *Finding
	// stand is the last good item that stands in for a damaged one, or nil.
	stand *item
}

// blank returns what holds a damaged item's place. Its username still tells that it
// is not another's alone.
func blank(it item) item {
	return item{entry: Entry{Username: it.entry.Username}, damaged: true, blank: true}
}

// inForce returns what counts in an item's place: the item, or what stands in for
// it. It is nil if nothing does.
func (it *item) inForce() *item {
	if it.damaged {
		return it.stand
	}
	return it
}

// inForce counts the items that are honoured, or stood in for.
func inForce(items []item) int {
	n := 0
	for i := range items {
		if items[i].inForce() != nil {
			n++
		}
	}
	return n
}

// stoodIn tells whether something good stands in for an item, or for the whole
// section if it is broken.
func (s *section) stoodIn(i int) bool {
	if s.broken != nil {
		return inForce(s.force) > 0
	}
	return i >= 0 && s.items[i].stand != nil
}

// section returns a section; an empty one if a is nil.
func (a *AWSAuth) section(key string) *section {
	if a == nil {
		return &section{}
	}
	return a.sections[key]
}

// force returns the items that count in a section.
func (a *AWSAuth) force(key string) []item { return a.section(key).force }

// InForce returns how many entries, or accounts, are in force in a section.
func (a *AWSAuth) InForce(key string) int { return inForce(a.force(key)) }

// list makes a section's part of the mappings.
func (a *AWSAuth) list(key string) {
	items := a.force(key)
	if key == MapAccounts {
		a.mappings.Accounts = nil
		for i := range items {
			if it := items[i].inForce(); it != nil {
				a.mappings.Accounts = append(a.mappings.Accounts, it.account)
			}
		}
		return
	}
	entries := make([]Entry, 0, len(items))
	for i := range items {
		if it := items[i].inForce(); it != nil {
			entries = append(entries, it.entry)
		} else if items[i].leave {
			entries = append(entries, items[i].entry)
		}
	}
	*a.mappings.sectionPtr(key) = entries
}
