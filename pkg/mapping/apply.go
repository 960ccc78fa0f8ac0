package mapping

import (
	"errors"
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"
)

// ErrBrokenKey is returned, wrapped, by Apply for a key that cannot be read.
var ErrBrokenKey = errors.New("cannot be read")

// Apply returns the ConfigMap's data after the plan. Keys and entries that the
// plan does not touch stay byte for byte, comments too. It refuses, with
// ErrBrokenKey, to write into a key that cannot be read: what stands there would
// be lost. A key whose last entry goes holds an empty list ("[]") then, as a
// server takes anything else for a mistake; see Emptied.
//
// Only if a key's list is not laid out line by line (JSON, say) the whole list
// is written anew; its entries stay, with unknown fields.
func (p *Plan) Apply() (map[string]string, error) {
	data := maps.Clone(p.live.data)
	if data == nil {
		data = make(map[string]string)
	}
	for _, key := range p.Broken {
		return nil, fmt.Errorf("aws-auth: %s %w: %w; correct it (kubectl -n kube-system edit configmap aws-auth), or remove the key to have it written anew, then run the command again",
			key, ErrBrokenKey, p.live.sections[key].broken)
	}
	for _, key := range sectionNames {
		e := p.edits[key]
		if e.empty() {
			continue
		}
		text, err := editText(key, data[key], e)
		if err != nil {
			return nil, fmt.Errorf("aws-auth: %s: %w", key, err)
		}
		data[key] = text
	}
	if size := Size(data); size > MaxConfigMapBytes {
		return nil, fmt.Errorf("aws-auth: its data would take %d bytes, and a ConfigMap holds %d", size, MaxConfigMapBytes)
	}
	return data, nil
}

// node returns an item as YAML.
func (it Item) node() *yaml.Node {
	if it.Section == MapAccounts {
		return accountNode(it.Account)
	}
	return entryNode(it.Section, it.Entry)
}

// editText returns a key's text with its items edited.
func editText(key, text string, e *edits) (string, error) {
	doc, err := parseDocument(text)
	if err != nil {
		return "", err
	}
	var items []*yaml.Node
	if doc.root != nil {
		items = doc.root.Content
	}
	// want is what the new text must be read as.
	want := make([]*yaml.Node, 0, len(items)+len(e.add))
	for i, n := range items {
		if d, ok := e.replace[i]; ok {
			n = d.node()
		}
		if !e.remove[i] {
			want = append(want, n)
		}
	}
	for _, d := range e.add {
		want = append(want, d.node())
	}
	// YAML can be laid out in more ways than editLines knows, so the outcome
	// is read back: other writers' entries must be what they were.
	edited, ok := editLines(text, items, e, len(want) == 0)
	if len(edited) > MaxConfigMapBytes {
		return "", fmt.Errorf("would take %d bytes, and a ConfigMap holds %d", len(edited), MaxConfigMapBytes)
	}
	if ok && readsAs(edited, want) {
		return edited, nil
	}
	if doc.more {
		return "", errors.New("holds several YAML documents and cannot be changed safely; keep only the first, which is the one that is read")
	}
	edited, err = rewrite(text, doc, want)
	if err != nil {
		return "", err
	}
	if !readsAs(edited, want) {
		return "", errors.New("cannot be changed without changing other writers' entries; write its entries line by line, without anchors")
	}
	return edited, nil
}

// rewrite writes a list anew.
func rewrite(text string, doc document, items []*yaml.Node) (string, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if doc.root != nil {
		list.HeadComment, list.FootComment = doc.root.HeadComment, doc.root.FootComment
	}
	r := newReader(text)
	for _, n := range items {
		n, err := r.clone(n)
		if err != nil {
			return "", err
		}
		list.Content = append(list.Content, n)
	}
	return encodeNode(list), nil
}

// clone copies a node, with what its aliases stand for in their place.
func (r *reader) clone(n *yaml.Node) (*yaml.Node, error) {
	target, err := r.follow(n)
	if err != nil {
		return nil, err
	}
	c := *target
	c.Anchor, c.Alias = "", nil
	c.HeadComment, c.LineComment, c.FootComment = n.HeadComment, n.LineComment, n.FootComment
	c.Content = make([]*yaml.Node, 0, len(target.Content))
	for _, child := range target.Content {
		child, err := r.clone(child)
		if err != nil {
			return nil, err
		}
		c.Content = append(c.Content, child)
	}
	return &c, nil
}

// readsAs tells whether a text is read as the list of items.
func readsAs(text string, items []*yaml.Node) bool {
	doc, err := parseDocument(text)
	if err != nil {
		return false
	}
	var got []*yaml.Node
	if doc.root != nil {
		got = doc.root.Content
	}
	if len(got) != len(items) {
		return false
	}
	c := comparer{}
	for i := range items {
		if !c.same(got[i], items[i]) {
			return false
		}
	}
	return true
}

// comparer compares nodes by what they mean. It remembers what it has compared,
// so that aliases cost nothing twice.
type comparer map[[2]*yaml.Node]bool

func (c comparer) same(a, b *yaml.Node) bool {
	aliased := false
	if a.Kind == yaml.AliasNode {
		a, aliased = a.Alias, true
	}
	if b.Kind == yaml.AliasNode {
		b, aliased = b.Alias, true
	}
	if aliased {
		if c[[2]*yaml.Node{a, b}] {
			return true
		}
		c[[2]*yaml.Node{a, b}] = true
	}
	if a.Kind != b.Kind || a.ShortTag() != b.ShortTag() || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !c.same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
