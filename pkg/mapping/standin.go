package mapping

import (
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
)

// standIn finds for each damaged item the one that it was before, and lets that
// one stand in: by its identity, or if that cannot be made out because it has not
// changed since, by its username, or by its place. What is found first is not
// found again. Elsewhere are the identities that nothing may stand for.
func standIn(items, was []item, elsewhere map[string]bool) {
	m := matching{
		items: items, was: was,
		pair:  make([]int, len(items)),
		spent: make([]bool, len(was)), overruled: make([]bool, len(was)),
	}
	for i := range m.pair {
		m.pair[i] = -1
	}
	m.byID(elsewhere)
	m.unchanged()
	m.byUsername()
	m.byPlace()
}

// matching pairs the items of a section with those that counted before.
type matching struct {
	items, was []item
	// pair has each item's place in was, or -1.
	pair []int
	// spent are the places in was that nothing may stand for any more.
	spent []bool
	// overruled are those of a principal who still has a good item, and that did
	// not count beside another one of theirs: standing in by guess, they might.
	overruled []bool
}

// take pairs an item with a place in was.
func (m *matching) take(i, j int) {
	m.pair[i] = j
	if it := &m.items[i]; it.damaged && !m.spent[j] {
		if good := m.was[j].inForce(); good != nil {
			// A copy, that the rest of was can be forgotten.
			stand := *good
			stand.lost = nil
			it.stand = &stand
		}
	}
	m.spent[j] = true
}

// open tells whether an item is one to find by something else than its identity.
func (m *matching) open(i int) bool {
	return m.items[i].damaged && m.items[i].id == "" && m.pair[i] < 0
}

// byID pairs the items that say who they are.
func (m *matching) byID(elsewhere map[string]bool) {
	places := make(map[string][]int, len(m.was))
	for j := range m.was {
		good := m.was[j].inForce()
		switch {
		case good == nil:
		case good.id == "" || elsewhere[good.id]:
			m.spent[j] = true
		default:
			places[good.id] = append(places[good.id], j)
		}
	}
	again := make(map[string][]int)
	for i := range m.items {
		id := m.items[i].id
		if there := places[id]; id == "" || len(there) == 0 {
			continue
		}
		again[id] = append(again[id], i)
	}
	for id, items := range again {
		m.same(items, places[id])
	}
}

// same pairs the items of one principal with the places it had: in their order if
// there are as many, or else each with what is most like it. If there are more
// now, and good ones among them, those are what is meant.
func (m *matching) same(items, places []int) {
	good := slices.ContainsFunc(items, func(i int) bool { return !m.items[i].damaged })
	switch n := len(items) - len(places); {
	case n > 0 && good:
		m.sameDamage(items, places)
		for _, j := range places {
			m.spent[j] = true
		}
	case n < 0 && len(places) <= mostCompared:
		for _, i := range slices.Backward(items) {
			m.take(i, m.mostLike(i, places))
		}
	default:
		for k := range min(len(items), len(places)) { // from the end: the later one counts
			m.take(items[len(items)-1-k], places[len(places)-1-k])
		}
	}
	if counted := m.counted(places); good {
		for _, j := range places {
			m.overruled[j] = j != counted
		}
	}
}

// sameDamage pairs the damaged items of one principal with the places that were
// damaged in the same way: whatever else is new, they are not.
func (m *matching) sameDamage(items, places []int) {
	if len(places) > mostCompared {
		return
	}
	for _, i := range slices.Backward(items) {
		if !m.items[i].damaged {
			continue
		}
		for _, j := range slices.Backward(places) {
			if w := &m.was[j]; !m.spent[j] && w.damaged && w.reading() == m.items[i].reading() {
				m.take(i, j)
				break
			}
		}
	}
}

// counted returns which of the places of one principal is the one that counted.
func (m *matching) counted(places []int) int {
	for _, j := range slices.Backward(places) {
		e := m.was[j].inForce().entry
		if a, err := iam.ParseARNAnyCase(e.ARN); e.SSO != nil || err == nil && rank(a) == 0 {
			return j
		}
	}
	return places[len(places)-1]
}

// mostCompared is among how many places of one principal the most alike is looked
// for, which takes time with their square.
const mostCompared = 32

// mostLike returns the place among those not spent that an item is most like; of
// several the last one.
func (m *matching) mostLike(i int, places []int) int {
	best, found := -1, -1
	for _, j := range slices.Backward(places) {
		if m.spent[j] {
			continue
		}
		if n := likeness(&m.items[i], &m.was[j]); n > best {
			best, found = n, j
		}
	}
	return found
}

// likeness tells how much an item is like one that counted before: how many of
// its fields are the same, or that it is damaged in the same way.
func likeness(it, was *item) int {
	n, e := 0, was.inForce().entry
	for _, same := range []bool{
		it.entry.ARN == e.ARN, it.entry.Username == e.Username, slices.Equal(it.entry.Groups, e.Groups),
	} {
		if same {
			n++
		}
	}
	if it.damaged && was.damaged && it.reading() == was.reading() {
		n += 4
	}
	return n
}

// reading is what could be read of an item, to be compared.
type reading struct {
	arn, userID, username, groups, account string
	sso                                    SSO
}

func (it *item) reading() reading {
	r := reading{
		arn: it.entry.ARN, userID: it.entry.UserID, username: it.entry.Username,
		groups: strings.Join(it.entry.Groups, "\n"), account: it.account,
	}
	if it.entry.SSO != nil {
		r.sso = *it.entry.SSO
	}
	return r
}

// unchanged pairs the items with those that read the same and were damaged
// before, if there are as many: they go on standing for whom they stood for, or
// for nobody.
func (m *matching) unchanged() {
	places := make(map[reading][]int)
	for j := range m.was {
		if w := &m.was[j]; w.damaged && !w.blank && (w.id == "" || w.stand == nil) {
			places[w.reading()] = append(places[w.reading()], j)
		}
	}
	if len(places) == 0 {
		return
	}
	again := make(map[reading][]int)
	for i := range m.items {
		if m.items[i].damaged && m.pair[i] < 0 {
			again[m.items[i].reading()] = append(again[m.items[i].reading()], i)
		}
	}
	for r, items := range again {
		if len(items) != len(places[r]) {
			continue
		}
		for k, i := range items {
			m.take(i, places[r][k])
		}
	}
}

// byUsername pairs the items with those that alone had their username. With a
// name that many share, the others may have been taken out on purpose.
func (m *matching) byUsername() {
	places := make(map[string]int, len(m.was))
	for j := range m.was {
		username := m.was[j].entry.Username
		if good := m.was[j].inForce(); good != nil {
			username = good.entry.Username
		}
		if _, twice := places[username]; twice {
			j = -1
		}
		places[username] = j
	}
	for i := range m.items {
		if !m.open(i) || m.items[i].entry.Username == "" {
			continue
		}
		if j, ok := places[m.items[i].entry.Username]; ok && j >= 0 && m.couldBe(i, j) {
			m.take(i, j)
		}
	}
}

// byPlace pairs the items that stand between two that are paired, or the ends, if
// just as many stood between the same two before.
func (m *matching) byPlace() {
	for first := 0; first < len(m.items); first++ {
		end := first
		for end < len(m.items) && m.open(end) {
			end++
		}
		before, after := -1, len(m.was)
		if first > 0 {
			before = m.pair[first-1]
		}
		if end < len(m.items) {
			after = m.pair[end]
		}
		known := (first == 0 || before >= 0) && after >= 0
		if known && after-before-1 == end-first {
			for i := first; i < end; i++ {
				if j := before + 1 + i - first; m.couldBe(i, j) {
					m.take(i, j)
				}
			}
		}
		first = end
	}
}

// couldBe tells whether an item may stand for what counted at a place in was: that
// is to be had, and the item does not say that it is somebody else.
func (m *matching) couldBe(i, j int) bool {
	it, good := &m.items[i], m.was[j].inForce()
	if good == nil || m.spent[j] || m.overruled[j] {
		return false
	}
	if it.entry.Username != "" && it.entry.Username != good.entry.Username {
		return false
	}
	if it.account != "" && otherAccount(it.account, good.account) {
		return false
	}
	now, then := claimOf(it.entry), claimOf(good.entry)
	return (now.name == "" || strings.EqualFold(now.name, then.name)) &&
		(now.account == "" || then.account == "" || now.account == then.account) &&
		(now.kind == "" || then.kind == "" || now.kind == then.kind)
}

// otherAccount tells whether a damaged account number is plainly not meant to be a
// good one: more than two of its digits, whatever is between them, would have to be
// wrong.
func otherAccount(damaged, good string) bool {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, damaged)
	return digits != "" && (len(digits) > len(good)+2 || distance(digits, good) > 2)
}

// claim is what an entry says of its principal or permission set, whatever else is
// wrong with it. What could not be one is empty.
type claim struct{ name, account, kind string }

func claimOf(e Entry) claim {
	c := claim{}
	if e.SSO != nil {
		c.name, c.account = e.SSO.PermissionSetName, e.SSO.AccountID
	} else {
		c = claimOfARN(strings.TrimSpace(e.ARN))
	}
	if !iam.IsAccountID(c.account) {
		c.account = ""
	}
	if _, err := iam.ParseARN("arn:aws:iam::123456789012:user/" + c.name); err != nil || strings.Contains(c.name, "/") {
		c.name = ""
	}
	return c
}

// claimOfARN reads what is left of an ARN.
func claimOfARN(arn string) claim {
	c := claim{}
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) == 6 {
		c.account = fields[4]
	} else if !strings.Contains(arn, "/") {
		return c
	}
	parts := strings.FieldsFunc(fields[len(fields)-1], func(r rune) bool { return r == '/' || r == ':' })
	if len(parts) == 0 {
		return c
	}
	switch kind := strings.ToLower(parts[0]); kind {
	case "role", "user":
		c.kind, parts = kind, parts[1:]
	case "assumed-role": // the session comes last
		c.kind, parts = "role", parts[1:min(len(parts), 2)]
	}
	if len(parts) > 0 {
		c.name = parts[len(parts)-1]
	}
	return c
}
