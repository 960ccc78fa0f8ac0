package mapping

import "slices"

// fill puts in force what the sections hold, with what counted in last for what is
// broken or damaged, and completes the findings. Last may be nil.
func (a *AWSAuth) fill(last *AWSAuth, found map[string][]Finding) []Finding {
	for _, key := range entrySections {
		found[key] = append(found[key], a.sections[key].loseGroups(last.section(key))...)
	}
	var findings []Finding
	for _, key := range sectionNames {
		s := a.sections[key]
		if s.broken != nil {
			a.Keep(key, last)
		} else {
			s.force = s.items
			s.mend(last.section(key), func() map[string]bool { return a.namedElsewhere(key, last) })
			a.list(key)
		}
		for _, f := range found[key] {
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

// mend lets what counted before stand in for the damaged items. Elsewhere names
// those whom nothing may stand for; it is only asked if something is damaged.
func (s *section) mend(was *section, elsewhere func() map[string]bool) {
	damaged := 0
	for i := range s.items {
		if s.items[i].damaged {
			damaged++
		}
	}
	switch {
	case damaged == 0:
	case s.readsAs(was):
		s.spoilt = was.kept
		named := elsewhere()
		for i := range s.items {
			if stand := was.items[i].stand; stand != nil && !named[stand.id] {
				s.items[i].stand = stand
			}
		}
	default:
		s.spoilt = damaged > len(was.force)-inForce(was.force)
		standIn(s.items, was.force, elsewhere())
	}
}

// readsAs tells whether a section says what it said before, so that it comes to the
// same.
func (s *section) readsAs(was *section) bool {
	return slices.EqualFunc(s.items, was.items, func(a, b item) bool {
		return a.damaged == b.damaged && a.id == b.id && a.reading() == b.reading()
	})
}

// Emptied returns the sections in which nothing is in force, although nobody has
// written an empty list ("[]"), which is how to say that nobody is meant: those
// that are missing, or blank, or hold nothing but what is damaged, and more of it
// than before.
func (a *AWSAuth) Emptied() []string {
	var keys []string
	for _, key := range sectionNames {
		s := a.sections[key]
		if s.broken == nil && inForce(s.force) == 0 && (!s.listed || s.spoilt) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Keep puts in force in a section what counts there in last, but for those whom a
// good item of another section names anew. Last may be nil.
func (a *AWSAuth) Keep(key string, last *AWSAuth) {
	s := a.sections[key]
	elsewhere := a.namedElsewhere(key, last)
	s.kept = true
	s.force = make([]item, 0, len(last.force(key)))
	for _, it := range last.force(key) {
		good := it.inForce()
		switch {
		case good == nil && it.leave:
			s.force = append(s.force, it)
		case good == nil:
			s.force = append(s.force, blank(it))
		case !elsewhere[good.id]:
			s.force = append(s.force, *good)
		}
	}
	a.list(key)
}

// namedElsewhere returns the identities that good items of the other section name,
// and more of them than counted there before: who is moved from one to the other
// has what the new item says. Who stood in both before goes on doing so.
func (a *AWSAuth) namedElsewhere(key string, last *AWSAuth) map[string]bool {
	named := make(map[string]bool)
	if key == MapAccounts {
		return named
	}
	for _, other := range entrySections {
		if other == key {
			continue
		}
		more := make(map[string]int)
		for _, it := range a.sections[other].items {
			if !it.damaged && it.id != "" {
				more[it.id]++
			}
		}
		for _, it := range last.force(other) {
			if good := it.inForce(); good != nil {
				more[good.id]--
			}
		}
		for id, n := range more {
			if n > 0 {
				named[id] = true
			}
		}
	}
	return named
}

// loseGroups marks the items as damaged that had groups before and have lost them,
// or had already lost them then, and reports each.
func (s *section) loseGroups(was *section) []Finding {
	suspect := func(it *item) bool { return it.lost != nil && !it.damaged }
	if !slices.ContainsFunc(s.items, func(it item) bool { return suspect(&it) }) {
		return nil
	}
	grouped := make(map[string]bool)
	for i := range was.force {
		if good := was.force[i].inForce(); good != nil && len(good.entry.Groups) > 0 {
			grouped[good.id] = true
		}
	}
	settled := make(map[reading]bool) // had none in that very form
	for i := range was.items {
		it := &was.items[i]
		if suspect(it) {
			settled[it.reading()] = true
		} else if it.lost != nil {
			grouped[it.id] = true
		}
	}
	var findings []Finding
	for i := range s.items {
		if it := &s.items[i]; suspect(it) && it.id != "" && grouped[it.id] && !settled[it.reading()] {
			it.damaged = true
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

// fatalFaults returns what makes an entry useless.
func fatalFaults(key string, e Entry, strict bool) []fault {
	check := checker{}.entry
	if strict {
		check = checker{}.strictEntry
	}
	_, faults := check(key, e)
	return slices.DeleteFunc(faults, func(f fault) bool { return f.level != fatal })
}
