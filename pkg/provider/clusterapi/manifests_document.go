package clusterapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// Document is a YAML document of Cluster API's objects, or several.
type Document struct {
	// File and Line say where the text starts.
	File string
	Line int
	// Text is the document as it is written, with its comments and with or
	// without lines of dashes.
	Text []byte
}

// split parts a text at its document markers. A line of dashes stays with what
// comes after it, and so do comments before the first one.
func (d Document) split() []Document {
	var parts []Document
	start, at := 0, 0
	line, startLine := d.Line, d.Line
	content := false
	cut := func(line int) {
		if at > start {
			parts = append(parts, Document{File: d.File, Line: startLine, Text: d.Text[start:at]})
		}
		start, startLine, content = at, line, false
	}
	for l := range bytes.Lines(d.Text) {
		switch trimmed := bytes.TrimSpace(l); {
		case isMarker(bytes.TrimRight(l, "\r\n"), "---"):
			if content {
				cut(line)
			}
			content = true
		case isMarker(bytes.TrimRight(l, "\r\n"), "..."):
			at += len(l)
			line++
			cut(line)
			continue
		case len(trimmed) > 0 && trimmed[0] != '#' && l[0] != '%':
			content = true
		}
		at += len(l)
		line++
	}
	cut(line)
	if len(parts) == 0 {
		return []Document{d}
	}
	return parts
}

type document struct {
	Document
	// object is nil if there are only comments.
	object *unstructured.Unstructured
}

// readDocument reads a text that is one document, or none.
func readDocument(d Document) (*document, error) {
	read := &document{Document: d}
	fail := func(line int, format string, args ...any) error {
		return &ObjectError{File: d.File, Line: line, Message: fmt.Sprintf(format, args...)}
	}
	var first yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(d.Text)).Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		return read, nil
	case err != nil:
		return nil, fail(d.Line, "is not YAML: %v", err)
	case yaml.IsYNodeEmptyDoc(&first):
		return read, nil
	}
	root := first.Content[0]
	start := d.Line + root.Line - 1
	if root.Kind != yaml.MappingNode {
		return nil, fail(start, "is not an object: it needs apiVersion and kind")
	}
	if key := duplicateKey(root); key != nil {
		return nil, fail(d.Line+key.Line-1, "%q is there for the second time in one mapping: remove one", key.Value)
	}
	u, err := decode(d.Text)
	if err != nil {
		return nil, fail(start, "is not YAML: %v", err)
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" {
		return nil, fail(start, "is not an object: it needs apiVersion and kind")
	}
	if u.GetName() == "" {
		if _, list := u.Object["items"]; list {
			return nil, &ObjectError{File: d.File, Line: start, Object: u.GetKind(), Message: "is a list: write its items as documents of their own"}
		}
		return nil, &ObjectError{File: d.File, Line: start, Object: u.GetKind(), Field: "metadata.name", Message: "is missing"}
	}
	read.object = u
	return read, nil
}

// duplicateKey finds a key that a mapping has twice, of which YAML's readers
// take one or the other.
func duplicateKey(n *yaml.Node) *yaml.Node {
	seen := make(map[string]bool)
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.ScalarNode {
			if seen[c.Value] {
				return c
			}
			seen[c.Value] = true
		}
		if key := duplicateKey(c); key != nil {
			return key
		}
	}
	return nil
}

// decode reads an object as kubectl does.
func decode(text []byte) (*unstructured.Unstructured, error) {
	data, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil && !hasNoKind(data) {
		return nil, err
	}
	return u, nil
}

// hasNoKind tells whether an object was refused for its kind alone, which is
// said better elsewhere.
func hasNoKind(data []byte) bool {
	var v map[string]any
	return sigsyaml.Unmarshal(data, &v) == nil && (v["kind"] == nil || v["kind"] == "")
}

// cut splits a document's text into what comes before its content, the content,
// and what comes after. The line of dashes is what tells, and the one of dots.
func cut(text []byte) (head, body, tail []byte) {
	body = text
	for rest := text; len(rest) > 0; {
		line, next := rest, []byte(nil)
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, next = rest[:i], rest[i+1:]
		}
		switch trimmed := bytes.TrimSpace(line); {
		case isMarker(line, "---") && len(bytes.TrimSpace(line[3:])) == 0, isMarker(line, "---") && bytes.TrimSpace(line[3:])[0] == '#':
			head, body = text[:len(text)-len(next)], next
			next = nil
		case len(trimmed) == 0, trimmed[0] == '#', line[0] == '%':
		default:
			next = nil
		}
		rest = next
	}
	for at := 0; at < len(body); {
		end := len(body)
		if i := bytes.IndexByte(body[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if isMarker(bytes.TrimRight(body[at:end], "\r\n"), "...") {
			return head, body[:at], body[at:]
		}
		at = end
	}
	return head, body, nil
}

// isMarker tells whether a line is a document marker.
func isMarker(line []byte, marker string) bool {
	line = bytes.TrimSuffix(line, []byte("\r"))
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == len(marker) || line[len(marker)] == ' ' || line[len(marker)] == '\t')
}

// edit changes a document's object and text. Lines that have nothing to do with
// the change stay as they are; where that cannot be done, the document is as
// kustomize writes it, which keeps comments, order and style, and loses blank
// lines.
func (d *document) edit(edit func(*yaml.RNode, *unstructured.Unstructured) (bool, error)) (bool, error) {
	head, body, tail := cut(d.Text)
	crlf := bytes.Contains(body, []byte("\r\n"))
	if crlf {
		body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	}
	node, err := yaml.Parse(string(body))
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	before, err := encode(node, body)
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	changed, err := edit(node, d.object)
	if err != nil || !changed {
		return false, d.locate(err)
	}
	texts, err := encode(node, body)
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	text := texts[0]
	after, err := decode([]byte(text))
	if err != nil {
		return false, d.problem("", "%v", err)
	}
	if err := sameBesides(d.object, after); err != nil {
		return false, d.locate(err)
	}
	for i := range texts {
		grafted, ok := graft(string(body), before[i], texts[i])
		if !ok {
			continue
		}
		if u, err := decode([]byte(grafted)); err == nil && reflect.DeepEqual(u.Object, after.Object) {
			text = grafted
			break
		}
	}
	if crlf {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	d.Text = slices.Concat(head, []byte(text), tail)
	d.object = after
	return true, nil
}

// encode writes a node with its lists indented as in the text it was read from,
// and the other way, since a text may do both.
func encode(n *yaml.RNode, like []byte) ([2]string, error) {
	styles := [2]yaml.SequenceIndentStyle{yaml.CompactSequenceStyle, yaml.WideSequenceStyle}
	if yaml.DeriveSeqIndentStyle(string(like)) == string(yaml.WideSequenceStyle) {
		slices.Reverse(styles[:])
	}
	var texts [2]string
	for i, style := range styles {
		var b strings.Builder
		e := yaml.NewEncoderWithOptions(&b, &yaml.EncoderOptions{SeqIndent: style})
		if err := errors.Join(e.Encode(n.Document()), e.Close()); err != nil {
			return texts, err
		}
		texts[i] = b.String()
	}
	return texts, nil
}

// problem is a problem of a field of the document's object.
func (d *document) problem(field, format string, args ...any) *ObjectError {
	p := &ObjectError{File: d.File, Line: d.lineOf(field), Field: field, Message: fmt.Sprintf(format, args...)}
	if d.object != nil {
		p.Object = label(d.object)
	}
	return p
}

// locate says where a problem of the document's object is written.
func (d *document) locate(err error) error {
	var p *ObjectError
	if !errors.As(err, &p) || p.File != "" || p.Object != label(d.object) {
		return err
	}
	located := *p
	located.File, located.Line = d.File, d.lineOf(p.Field)
	return &located
}

// lineOf is the line of a field, or of as much of its path as there is.
func (d *document) lineOf(field string) int {
	var root yaml.Node
	if err := yaml.Unmarshal(d.Text, &root); err != nil || len(root.Content) == 0 {
		return d.Line
	}
	n := root.Content[0]
	line := n.Line
	for name := range strings.FieldsFuncSeq(field, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == name {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			var i int
			if _, err := fmt.Sscan(name, &i); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
				line = next.Line
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return d.Line + line - 1
}

// startsWithMarker tells whether a document has its line of dashes with it.
func startsWithMarker(text []byte) bool {
	head, _, _ := cut(text)
	if len(head) > 0 {
		return true
	}
	// A document may start on the marker's own line.
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' || line[0] == '%' {
			continue
		}
		return isMarker(bytes.TrimRight(line, "\r\n"), "---")
	}
	return false
}
