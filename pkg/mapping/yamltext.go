package mapping

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one key's text, parsed.
type document struct {
	// root is the list, or nil if the text is as good as empty.
	root *yaml.Node
	// more says that further YAML documents follow. They are not read.
	more bool
}

// syntaxError says why a key's text is no list. Line counts from 1; 0 is
// unknown.
type syntaxError struct {
	line    int
	message string
}

func (e *syntaxError) Error() string {
	if e.line > 0 {
		return fmt.Sprintf("line %d: %s", e.line, e.message)
	}
	return e.message
}

// errTooMuch is what a reading costs that is refused.
var errTooMuch = errors.New("its YAML anchors stand for far more text than it has; write the entries out")

// parseDocument parses a key's text. The error, if there is one, is a
// *syntaxError.
func parseDocument(text string) (doc document, err error) {
	if isBlank(text) {
		return document{}, nil
	}
	// The parser is not ours and the text is a stranger's. A fault in the one
	// that the other brings out must cost this key, not the server.
	defer func() {
		if r := recover(); r != nil {
			doc, err = document{}, &syntaxError{message: "the YAML parser gave up on it"}
		}
	}()
	dec := yaml.NewDecoder(strings.NewReader(text))
	var first yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return document{}, nil
	} else if err != nil {
		return document{}, explainSyntax(text, err)
	}
	var second yaml.Node
	more := !errors.Is(dec.Decode(&second), io.EOF)
	if len(first.Content) == 0 {
		return document{more: more}, nil
	}
	root := first.Content[0]
	switch {
	case root.Kind == yaml.SequenceNode:
		return document{root: root, more: more}, nil
	case root.Kind == yaml.ScalarNode && (root.ShortTag() == "!!null" || isBlank(root.Value)):
		return document{more: more}, nil
	}
	return document{}, &syntaxError{line: root.Line, message: "not a list: each entry starts with \"- \""}
}

// isBlank tells whether a text stands for an empty list: some tools write a pair
// of quotes for nothing.
func isBlank(text string) bool {
	switch strings.TrimSpace(text) {
	case "", "''", `""`, "``":
		return true
	}
	return false
}

// explainSyntax turns the parser's error into ours.
func explainSyntax(text string, err error) *syntaxError {
	e := &syntaxError{message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if rest, ok := strings.CutPrefix(e.message, "line "); ok {
		if number, message, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				e.line, e.message = n, message
			}
		}
	}
	e.message = "not YAML: " + clip(e.message)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, ": {{") || strings.HasPrefix(line, "- {{") {
			e.message += " (a value that starts with {{ must stand in quotes: quote it)"
			break
		}
	}
	return e
}

// reader reads values out of parsed YAML. What a text costs is bounded by its
// size, whatever it does with anchors.
type reader struct {
	budget int
}

func newReader(text string) *reader {
	return &reader{budget: 2*len(text) + 1024}
}

// follow returns the node an alias stands for, and charges for it.
func (r *reader) follow(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.budget -= 1 + len(n.Value)
	if r.budget < 0 {
		return nil, errTooMuch
	}
	return n, nil
}

// isNull tells whether a node stands for nothing.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// isText tells whether a node is a string, and not a number that wants quotes.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

// kindOf names what a node is, for a message about what it should have been.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!int", "!!float":
			return "a number"
		case "!!bool":
			return "a truth value"
		case "!!null":
			return "null"
		case "!!str":
			return "text"
		case "!!timestamp":
			return "a date"
		}
	}
	return "something else"
}
