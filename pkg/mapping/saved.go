package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Saved is a table as it is kept over a restart.
type Saved struct {
	// Data is what is in force, in aws-auth's form, item by item. Where nothing is,
	// an item that is as good as empty holds the place.
	Data map[string]string `json:"data"`
	// Text is what was written, by key, if that is not just what is in force.
	Text map[string]string `json:"text,omitempty"`
	// Kept are the sections whose Data stands for all of their Text, and not item
	// for item.
	Kept []string `json:"kept,omitempty"`
	// Lost are the places in a Text of the items that are damaged because they have
	// lost their groups, which the Text alone does not tell.
	Lost map[string][]int `json:"lost,omitempty"`
}

// Saved returns what Restore makes the same table of again. A section that has
// nothing wrong is left as it was written: writing a large one anew takes longer
// than all else of a reload.
func (a *AWSAuth) Saved() Saved {
	saved := Saved{Data: make(map[string]string), Text: make(map[string]string), Lost: make(map[string][]int)}
	for _, key := range sectionNames {
		s := a.sections[key]
		written, there := a.data[key]
		damaged := func(it item) bool { return it.damaged }
		switch {
		case s.kept:
			saved.Kept = append(saved.Kept, key)
		case !slices.ContainsFunc(s.items, damaged):
			if there {
				saved.Data[key] = written
			}
			continue
		}
		for i, it := range s.items {
			if it.damaged && it.lost != nil {
				saved.Lost[key] = append(saved.Lost[key], i)
			}
		}
		saved.Text[key] = written
		saved.Data[key] = encodeForce(key, s.force)
	}
	return saved
}

// encodeForce writes what is in force of some items.
func encodeForce(key string, items []item) string {
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: make([]*yaml.Node, 0, len(items))}
	for i := range items {
		good := items[i].inForce()
		if good == nil {
			place := blank(items[i])
			good = &place
		}
		n := accountNode(good.account)
		if key != MapAccounts {
			n = entryNode(key, good.entry)
		}
		list.Content = append(list.Content, n)
	}
	return encodeNode(list)
}

// Restore returns the table that was saved. The error says that it is none that
// Saved gives.
func Restore(saved Saved) (*AWSAuth, error) {
	a := &AWSAuth{data: maps.Clone(saved.Data), sections: make(map[string]*section, len(sectionNames))}
	for _, key := range sectionNames {
		// No limit: written out, a table may be larger than the ConfigMap was.
		s, _ := parseText(key, saved.Data[key])
		if s.broken != nil {
			return nil, fmt.Errorf("%s: %w", key, s.broken)
		}
		s.force = s.items
		if written, ok := saved.Text[key]; ok {
			good := s.items
			s, _ = parseText(key, written)
			s.kept = slices.Contains(saved.Kept, key)
			if !s.restore(good, saved.Lost[key]) {
				return nil, fmt.Errorf("%s: %w", key, errOtherItems)
			}
			if a.data != nil {
				a.data[key] = written
			}
		}
		a.sections[key] = s
		a.list(key)
	}
	return a, nil
}

var errOtherItems = errors.New("what was in force does not go with the text")

// restore puts in force what was in force of the section: item by item, unless it
// is kept.
func (s *section) restore(good []item, lost []int) bool {
	for _, i := range lost {
		if i < 0 || i >= len(s.items) {
			return false
		}
		s.items[i].damaged = true
	}
	if s.kept {
		for i, it := range good {
			if it.damaged {
				good[i] = blank(it)
			}
		}
		s.force = good
		return true
	}
	if s.broken != nil || len(s.items) != len(good) {
		return false
	}
	for i := range good {
		if in := good[i].inForce(); in != nil && s.items[i].damaged {
			stand := *in // a copy, that the rest can be forgotten
			s.items[i].stand = &stand
		}
	}
	s.force = s.items
	return true
}
