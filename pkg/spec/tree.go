package spec

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on what one file may make of itself. An alias repeats all that its
// anchor holds, so a few lines can stand for billions of values.
const (
	maxAliasedNodes = 100_000
	maxDepth        = 64
)

// valueKind is the shape of a value.
type valueKind uint8

const (
	nullValue valueKind = iota
	scalarValue
	listValue
	objectValue
)

// String returns the shape in a user's words.
func (k valueKind) String() string {
	switch k {
	case nullValue:
		return "nothing"
	case scalarValue:
		return "a single value"
	case listValue:
		return "a list"
	default:
		return "an object"
	}
}

// value is one YAML value with aliases and merge keys resolved, which knows the
// line it was written on.
type value struct {
	kind   valueKind
	line   int
	node   *yaml.Node // a scalar's text, tag and style
	fields []field    // an object's, in the order written
	items  []*value   // a list's
}

// field is one key of an object and its value.
type field struct {
	name  string
	line  int
	value *value
}

// get returns the named field's value, or nil.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.fields {
		if v.fields[i].name == name {
			return v.fields[i].value
		}
	}
	return nil
}

// text returns a scalar's text, and nothing for every other value.
func (v *value) text() string {
	if v == nil || v.kind != scalarValue {
		return ""
	}
	return v.node.Value
}

// locate returns the line of the field with that path ("spec.mapRoles[2].roleARN"),
// or of the innermost value around it if it is not written.
func (v *value) locate(path string) int {
	line := v.line
	for path != "" && v != nil {
		if path[0] == '[' {
			digits, rest, _ := strings.Cut(path[1:], "]")
			i, err := strconv.Atoi(digits)
			if err != nil || i < 0 || i >= len(v.items) {
				return line
			}
			v, path = v.items[i], strings.TrimPrefix(rest, ".")
			line = v.line
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		name := path[:end]
		path = strings.TrimPrefix(path[end:], ".")
		found := false
		for i := range v.fields {
			if v.fields[i].name == name {
				line, v, found = v.fields[i].line, v.fields[i].value, true
				break
			}
		}
		if !found {
			return line
		}
	}
	return line
}

// builder turns the nodes of one document into values.
type builder struct {
	offset int // of the document's first line
	report func(line int, path, message string)
	// aliased counts the nodes reached through aliases, over the whole file.
	aliased *int
	// active holds the anchors that are being resolved, to find one that
	// contains itself.
	active map[*yaml.Node]bool
	depth  int
}

// build returns the value of a node. Problems are reported, and what is wrong
// is left out as null.
func (b *builder) build(n *yaml.Node, path string) *value {
	b.depth++
	defer func() { b.depth-- }()
	line := n.Line + b.offset
	null := &value{kind: nullValue, line: line}
	if b.depth > maxDepth {
		b.report(line, path, fmt.Sprintf("nested more than %d deep", maxDepth))
		return null
	}
	if len(b.active) > 0 {
		*b.aliased++
		if *b.aliased > maxAliasedNodes {
			if *b.aliased == maxAliasedNodes+1 {
				b.report(line, path, fmt.Sprintf("the file's aliases stand for more than %d values: write them out", maxAliasedNodes))
			}
			return null
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return b.alias(n, path, func(target *yaml.Node) *value { return b.build(target, path) })
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return null
		}
		return &value{kind: scalarValue, line: line, node: n}
	case yaml.SequenceNode:
		list := &value{kind: listValue, line: line}
		for i, item := range n.Content {
			list.items = append(list.items, b.build(item, fmt.Sprintf("%s[%d]", path, i)))
		}
		return list
	case yaml.MappingNode:
		object := &value{kind: objectValue, line: line, node: n}
		b.object(object, n, path)
		return object
	default:
		return null
	}
}

// alias resolves an alias by f, unless its anchor contains it.
func (b *builder) alias(n *yaml.Node, path string, f func(*yaml.Node) *value) *value {
	target := n.Alias
	if target == nil || b.active[target] {
		b.report(n.Line+b.offset, path, fmt.Sprintf("the alias *%s stands inside its own anchor", clip(n.Value)))
		return &value{kind: nullValue, line: n.Line + b.offset}
	}
	b.active[target] = true
	defer delete(b.active, target)
	return f(target)
}

// object fills in an object's fields: first those written in it, then those
// merged into it by "<<", which never replace one that is there.
func (b *builder) object(object *value, n *yaml.Node, path string) {
	seen := make(map[string]int, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		line := n.Content[i].Line + b.offset
		if key.Kind != yaml.ScalarNode {
			b.report(line, path, templateHint(n, "a field's name must be text, this is a list or an object"))
			continue
		}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, val)
			continue
		}
		fieldPath := join(path, key.Value)
		if problem := notString(key); problem != "" {
			b.report(line, fieldPath, "as a field's name: "+problem)
			continue
		}
		if first, dup := seen[key.Value]; dup {
			b.report(line, fieldPath, fmt.Sprintf("written twice, first on line %d: remove one", first))
			continue
		}
		seen[key.Value] = line
		object.fields = append(object.fields, field{name: key.Value, line: line, value: b.build(val, fieldPath)})
	}
	for _, m := range merges {
		b.merge(object, m, path, seen)
	}
}

// merge adds the fields of an object, or of each object of a list, that the
// object lacks.
func (b *builder) merge(object *value, n *yaml.Node, path string, seen map[string]int) {
	source := b.build(n, path)
	sources := []*value{source}
	if source.kind == listValue {
		sources = source.items
	}
	for _, s := range sources {
		if s.kind != objectValue {
			if s.kind != nullValue {
				b.report(n.Line+b.offset, join(path, "<<"), fmt.Sprintf("want an object or a list of objects to merge, this is %s", s.kind))
			}
			continue
		}
		for _, f := range s.fields {
			if _, there := seen[f.name]; !there {
				seen[f.name] = f.line
				object.fields = append(object.fields, f)
			}
		}
	}
}

// join appends a field's name to a path.
func join(path, name string) string {
	if path == "" {
		return clip(name)
	}
	return path + "." + clip(name)
}

// clip shortens what the file says, for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
