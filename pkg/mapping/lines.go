package mapping

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// editLines edits a list in its text, line by line, and leaves all other lines
// alone. None says that no item is left. It is false if the list is not laid out
// so that this can be done.
func editLines(text string, items []*yaml.Node, e *edits, none bool) (string, bool) {
	if isBlank(text) {
		text = ""
	}
	if oddBreaks(text) {
		return "", false
	}
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	ed := lineEditor{lines: lines, newline: "\n"}
	if strings.Contains(text, "\r\n") {
		ed.newline = "\r\n"
	}
	ed.end = firstDocument(lines)
	if len(items) == 0 {
		ed.copyBare()
	} else if !ed.copyItems(items, e) {
		return "", false
	}
	for _, d := range e.add {
		ed.write(d.node())
	}
	if none {
		ed.copy("[]" + ed.newline)
	}
	for _, line := range lines[ed.end:] {
		ed.copy(line)
	}
	return ed.out.String(), true
}

// lineEditor writes an edited copy of a text.
type lineEditor struct {
	lines   []string
	newline string
	// indent is the column of the items' dashes, from 0.
	indent int
	// end is the first line that is no longer of the first document.
	end int
	out strings.Builder
	// open says that the last line written has no line break yet.
	open bool
}

// copy writes a line as it is.
func (ed *lineEditor) copy(line string) {
	if line == "" {
		return
	}
	ed.closeLine()
	ed.out.WriteString(line)
	ed.open = !strings.HasSuffix(line, "\n")
}

func (ed *lineEditor) closeLine() {
	if ed.open {
		ed.out.WriteString(ed.newline)
		ed.open = false
	}
}

// write writes an item.
func (ed *lineEditor) write(n *yaml.Node) {
	ed.closeLine()
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}}
	for line := range strings.Lines(encodeNode(list)) {
		ed.out.WriteString(strings.Repeat(" ", ed.indent))
		ed.out.WriteString(strings.TrimSuffix(line, "\n"))
		ed.out.WriteString(ed.newline)
	}
}

// copyBare copies a first document without items: its comments and markers, but
// not the text that stands for the empty list.
func (ed *lineEditor) copyBare() {
	for _, line := range ed.lines[:ed.end] {
		if isAside(line) || strings.HasPrefix(line, "%") || isMarker(line, "---") && strings.TrimSpace(line) == "---" {
			ed.copy(line)
		}
	}
}

// copyItems copies the first document with its items edited.
func (ed *lineEditor) copyItems(items []*yaml.Node, e *edits) bool {
	starts, ok := ed.starts(items)
	if !ok {
		return false
	}
	for _, line := range ed.lines[:starts[0]] {
		ed.copy(line)
	}
	for i, start := range starts {
		next := ed.end
		if i+1 < len(starts) {
			next = starts[i+1]
		}
		// Comments after an item may be about the next one.
		stop := next
		for stop > start+1 && isAside(ed.lines[stop-1]) {
			stop--
		}
		d, replaced := e.replace[i]
		switch {
		case e.remove[i]:
			start = stop
		case replaced:
			ed.write(d.node())
			start = stop
		}
		for _, line := range ed.lines[start:next] {
			ed.copy(line)
		}
	}
	return true
}

// starts returns the lines of the items' dashes, which must stand below each
// other.
func (ed *lineEditor) starts(items []*yaml.Node) ([]int, bool) {
	starts := make([]int, len(items))
	from := 0
	for i, n := range items {
		at := n.Line - 1
		if at >= ed.end {
			return nil, false
		}
		// An item may start on a line after its dash.
		for at >= from && !isDash(ed.lines[at]) {
			at--
		}
		if at < from {
			return nil, false
		}
		indent := len(ed.lines[at]) - len(strings.TrimLeft(ed.lines[at], " "))
		if i > 0 && indent != ed.indent {
			return nil, false
		}
		ed.indent = indent
		starts[i], from = at, at+1
	}
	return starts, true
}

// firstDocument returns the number of lines that the first document has.
func firstDocument(lines []string) int {
	begun := false
	for i, line := range lines {
		switch {
		case isMarker(line, "..."):
			return i
		case isMarker(line, "---"):
			if begun {
				return i
			}
			begun = true
		case isAside(line) || strings.HasPrefix(line, "%"):
		default:
			begun = true
		}
	}
	return len(lines)
}

// isMarker tells whether a line starts or ends a YAML document.
func isMarker(line, marker string) bool {
	rest, ok := strings.CutPrefix(line, marker)
	return ok && (rest == "" || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// isDash tells whether a line starts an item.
func isDash(line string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "-")
	return ok && (rest == "" || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// isAside tells whether a line is blank or a comment.
func isAside(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// oddBreaks tells whether a text has line breaks that YAML counts and that are
// not a newline, so that its lines have other numbers.
func oddBreaks(text string) bool {
	return strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), "\r") || strings.ContainsAny(text, "\u0085\u2028\u2029")
}
