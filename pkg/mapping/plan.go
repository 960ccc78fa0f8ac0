package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// Item is an entry, or an account, in a plan.
type Item struct {
	// Section is MapRoles, MapUsers or MapAccounts.
	Section string
	// Entry is empty for an account.
	Entry Entry
	// Account is set for MapAccounts.
	Account string
	// Damaged says that the entry is not honoured as it stands. Entry then
	// holds what can be made out of it.
	Damaged bool
}

// Change is an entry that gets another content.
type Change struct {
	// Section is where the entry will be.
	Section       string
	Before, After Entry
	// TakenOver says that somebody else wrote the entry. From now on it is
	// capiam's.
	TakenOver bool
}

// Plan is what has to happen to an aws-auth ConfigMap so that it holds what a
// spec wants. Each entry of the ConfigMap belongs to somebody:
//
//   - capiam's are those it applied last. If the spec still has them they are
//     brought to what the spec says, and if not they are removed, also if
//     somebody has edited them since.
//   - Everybody else's are foreign. They stay, letter by letter, unless the spec
//     names the same principal (the same canonical key, in whatever spelling and
//     section). There can be only one answer to who a principal is, and a spec
//     that somebody has just applied is it: the entry is taken over, which the
//     plan shows as a change with what was there before.
//   - An entry that is word for word what the spec wants is adopted, and counts
//     as unchanged.
type Plan struct {
	Added   []Item
	Removed []Item
	Changed []Change
	// Unchanged entries are as the spec wants them already.
	Unchanged []Item
	// Foreign entries are other writers'. They stay.
	Foreign []Item
	// Broken lists the keys that the plan would have to change and that
	// cannot be read. Apply refuses while there are any.
	Broken []string

	live  *AWSAuth
	edits map[string]*edits
}

// edits are what happens to one key's items.
type edits struct {
	replace map[int]Item
	remove  map[int]bool
	add     []Item
}

func (e *edits) empty() bool {
	return len(e.replace)+len(e.remove)+len(e.add) == 0
}

// ref is the place of an item of the live ConfigMap.
type ref struct {
	section string
	index   int
}

// NewPlan compares what capiam applied last, what the spec wants, and what the
// cluster has. Live is nil if there is no ConfigMap yet.
func NewPlan(last, desired Mappings, live *AWSAuth) *Plan {
	if live == nil {
		live, _ = Parse(nil)
	}
	p := &Plan{live: live, edits: make(map[string]*edits, len(sectionNames))}
	for _, key := range sectionNames {
		p.edits[key] = &edits{replace: make(map[int]Item), remove: make(map[int]bool)}
	}
	byID := make(map[string][]ref)
	for _, key := range sectionNames {
		for i, it := range live.sections[key].items {
			if it.id != "" {
				byID[it.id] = append(byID[it.id], ref{key, i})
			}
		}
	}
	before := last.items()
	ours := make(map[string]string, len(before)) // identity to section
	for _, it := range before {
		ours[it.id()] = it.Section
	}
	// handled are the places that are somebody's already.
	handled := make(map[ref]bool)
	wanted := make(map[string]bool)
	needs := make(map[string]bool)
	for _, d := range desired.items() {
		needs[d.Section] = true
		id := d.id()
		if wanted[id] {
			continue // Check refuses such a table
		}
		wanted[id] = true
		p.want(d, byID[id], ours[id])
		for _, r := range byID[id] {
			handled[r] = true
		}
	}
	for _, l := range before {
		needs[l.Section] = true
		id := l.id()
		if wanted[id] {
			continue
		}
		for _, r := range byID[id] {
			if !handled[r] {
				handled[r] = true
				p.Removed = append(p.Removed, p.at(r))
				p.edits[r.section].remove[r.index] = true
			}
		}
	}
	for _, key := range sectionNames {
		for i := range live.sections[key].items {
			if r := (ref{key, i}); !handled[r] {
				p.Foreign = append(p.Foreign, p.at(r))
			}
		}
		if live.sections[key].broken != nil && needs[key] {
			p.Broken = append(p.Broken, key)
		}
	}
	return p
}

// want plans for one item of the spec, given the live ones that name the same
// principal and the section, if any, where capiam put it before.
func (p *Plan) want(d Item, refs []ref, section string) {
	// The item to keep is the one that says what the spec does, else the
	// first of its section.
	keep := -1
	for i, r := range refs {
		if r.section != d.Section {
			continue
		}
		if same := p.at(r).equal(d); same || keep < 0 {
			keep = i
			if same {
				break
			}
		}
	}
	// Of several, one at most is capiam's.
	ours := keep
	if keep < 0 || refs[keep].section != section {
		ours = slices.IndexFunc(refs, func(r ref) bool { return r.section == section })
	}
	switch {
	case keep < 0:
		p.edits[d.Section].add = append(p.edits[d.Section].add, d)
		if len(refs) == 0 && p.live.sections[d.Section].broken == nil {
			p.Added = append(p.Added, d)
		}
	case p.at(refs[keep]).equal(d):
		p.Unchanged = append(p.Unchanged, d)
	default:
		p.Changed = append(p.Changed, Change{Section: d.Section, Before: p.at(refs[keep]).Entry, After: d.Entry, TakenOver: keep != ours})
		p.edits[d.Section].replace[refs[keep].index] = d
	}
	for i, r := range refs {
		if i == keep {
			continue
		}
		p.edits[r.section].remove[r.index] = true
		if r.section != MapAccounts {
			p.Changed = append(p.Changed, Change{Section: d.Section, Before: p.at(r).Entry, After: d.Entry, TakenOver: i != ours})
		} else {
			p.Removed = append(p.Removed, p.at(r))
		}
	}
}

// at returns the live item at a place.
func (p *Plan) at(r ref) Item {
	it := p.live.sections[r.section].items[r.index]
	return Item{Section: r.section, Entry: it.entry, Account: it.account, Damaged: it.damaged}
}

// items returns a table as one list.
func (m Mappings) items() []Item {
	items := make([]Item, 0, len(m.Roles)+len(m.Users)+len(m.Accounts))
	for _, e := range m.Roles {
		items = append(items, Item{Section: MapRoles, Entry: e})
	}
	for _, e := range m.Users {
		items = append(items, Item{Section: MapUsers, Entry: e})
	}
	for _, account := range m.Accounts {
		items = append(items, Item{Section: MapAccounts, Account: account})
	}
	return items
}

// id returns the item's identity, or for one that names nobody its text.
func (it Item) id() string {
	if it.Section == MapAccounts {
		return it.Account
	}
	if id, ok := identity(it.Entry, ""); ok {
		return id
	}
	return it.Section + " " + it.Entry.ARN
}

func (it Item) equal(o Item) bool {
	return !it.Damaged && !o.Damaged && it.Account == o.Account && it.Entry.Equal(o.Entry)
}

// Empty tells whether there is nothing to do.
func (p *Plan) Empty() bool {
	return len(p.Added)+len(p.Removed)+len(p.Changed)+len(p.Broken) == 0
}

// After returns the table that is honoured once the plan is applied, for a check
// such as CheckLockout. A broken key counts with the entries that are in force.
func (p *Plan) After() Mappings {
	var m Mappings
	for _, key := range sectionNames {
		s := p.live.sections[key]
		if s.broken != nil {
			if key == MapAccounts {
				m.Accounts = p.live.mappings.Accounts
			} else {
				*m.sectionPtr(key) = p.live.mappings.section(key)
			}
			continue
		}
		for _, it := range p.result(key) {
			switch {
			case it.Damaged:
			case key == MapAccounts:
				m.Accounts = append(m.Accounts, it.Account)
			default:
				entries := m.sectionPtr(key)
				*entries = append(*entries, it.Entry)
			}
		}
	}
	return m
}

// result returns a key's items after the plan.
func (p *Plan) result(key string) []Item {
	var items []Item
	e := p.edits[key]
	for i := range p.live.sections[key].items {
		if e.remove[i] {
			continue
		}
		if d, ok := e.replace[i]; ok {
			items = append(items, d)
			continue
		}
		items = append(items, p.at(ref{key, i}))
	}
	return append(items, e.add...)
}

// Lines returns the plan for people, a line for each entry: "+" is added, "-"
// removed, "~" changed, "=" another writer's that stays, "!" in the way.
func (p *Plan) Lines() []string {
	var lines []string
	for _, key := range p.Broken {
		lines = append(lines, fmt.Sprintf("! %s cannot be read (%s): put it right first", key, p.live.sections[key].broken))
	}
	for _, it := range p.Added {
		lines = append(lines, "+ "+it.String())
	}
	for _, c := range p.Changed {
		lines = append(lines, "~ "+c.String())
	}
	for _, it := range p.Removed {
		lines = append(lines, "- "+it.String())
	}
	for _, it := range p.Foreign {
		lines = append(lines, "= "+it.String()+" (not capiam's, stays)")
	}
	return lines
}

// String returns the item on one line: "mapRoles ARN as USERNAME, groups A, B".
func (it Item) String() string {
	if it.Section == MapAccounts {
		return it.Section + " " + clip(it.Account)
	}
	s := it.Section + " " + describe(it.Entry) + " " + says(it.Entry)
	if it.Damaged {
		s += " (damaged)"
	}
	return s
}

// String returns the change on one line.
func (c Change) String() string {
	s := c.Section + " "
	if describe(c.Before) != describe(c.After) {
		s += describe(c.Before) + " -> "
	}
	s += describe(c.After) + " "
	if was, is := says(c.Before), says(c.After); was != is {
		s += was + " -> "
	}
	s += says(c.After)
	if c.TakenOver {
		s += " (taken over from another writer)"
	}
	return s
}

// says returns what an entry makes of its principal.
func says(e Entry) string {
	s := "as " + clip(e.Username)
	if e.Username == "" {
		s = "as nobody"
	}
	if len(e.Groups) == 0 {
		return s + ", no groups"
	}
	return s + ", groups " + clip(strings.Join(e.Groups, ", "))
}
