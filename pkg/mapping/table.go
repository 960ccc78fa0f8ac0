package mapping

import "iter"

// inline is how long a key may be to lie in the table itself. Those of most
// principals are shorter ("arn:aws:iam::111122223333:role/" is 31).
const inline = 63

// table finds entries by their keys. Short keys are part of the table: in a large
// one, a key somewhere else is one more place in memory to wait for.
type table struct {
	short map[shortKey]*indexed
	long  map[string]*indexed
}

// newTable makes room for so many entries.
func newTable(entries int) table {
	return table{short: make(map[shortKey]*indexed, entries), long: make(map[string]*indexed)}
}

// shortKey is a key, and at the end its length.
type shortKey [inline + 1]byte

func shorten(key []byte) (k shortKey) {
	copy(k[:inline], key)
	k[inline] = byte(len(key))
	return k
}

func (t *table) get(key []byte) *indexed {
	if len(key) <= inline {
		return t.short[shorten(key)]
	}
	return t.long[string(key)]
}

func (t *table) put(key string, e *indexed) {
	if len(key) <= inline {
		t.short[shorten([]byte(key))] = e
		return
	}
	t.long[key] = e
}

func (t *table) len() int { return len(t.short) + len(t.long) }

// all returns the entries in no order.
func (t *table) all() iter.Seq[*indexed] {
	return func(yield func(*indexed) bool) {
		for _, e := range t.short {
			if !yield(e) {
				return
			}
		}
		for _, e := range t.long {
			if !yield(e) {
				return
			}
		}
	}
}
