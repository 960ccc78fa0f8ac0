package spec

import (
	"bytes"
	"fmt"
)

// documentText returns a document as it was written, without the markers around
// it, and the line on which that starts.
func documentText(c chunk) (text []byte, line int) {
	marker := false
	for pos := 0; pos < len(c.text); {
		end, next := lineEnd(c.text, pos)
		l, lineBreak := c.text[pos:end], c.text[end:next]
		switch {
		case !marker && isMarker(l, "---"):
			marker = true
			l = bytes.TrimLeft(l[len("---"):], " \t")
		case !marker && isDirective(l):
			l = nil
		case isMarker(l, "..."):
			l = nil
		case len(l) > 0 && l[0] != '#' && len(bytes.TrimSpace(l)) > 0:
			marker = true // what follows is content, whatever it looks like
		}
		text = append(append(text, l...), lineBreak...)
		pos = next
	}
	line = c.line
	for {
		end, next := lineEnd(text, 0)
		if next == 0 || len(bytes.TrimSpace(text[:end])) > 0 {
			break
		}
		text = text[next:]
		line++
	}
	text = bytes.TrimRight(text, " \t\r\n")
	return append(text, '\n'), line
}

func isDirective(line []byte) bool { return len(line) > 0 && line[0] == '%' }

// checkDirectives says what is wrong with the directives before a document, or
// returns nothing. One other than %YAML changes what the text means, and is not
// taken along.
func checkDirectives(c chunk) string {
	for pos := 0; pos < len(c.text); {
		end, next := lineEnd(c.text, pos)
		l := c.text[pos:end]
		switch {
		case isDirective(l) && !bytes.HasPrefix(l, []byte("%YAML")):
			return fmt.Sprintf("starts with the directive %s: write it without", clip(string(l)))
		case isMarker(l, "---"), !isDirective(l) && len(bytes.TrimSpace(l)) > 0 && l[0] != '#':
			return ""
		}
		pos = next
	}
	return ""
}
