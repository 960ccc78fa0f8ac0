package spec

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// chunk is the text of one YAML document and the line it starts on.
type chunk struct {
	line int
	text []byte
}

var utf8BOM = []byte("\xef\xbb\xbf")

// checkText finds what no YAML reader can make sense of, or what readers
// disagree on, before any of it is parsed. It returns the line, 0 for the whole
// file, and what is wrong; an empty message is good news.
func checkText(data []byte) (line int, message string) {
	switch {
	case len(data) > MaxBytes:
		return 0, fmt.Sprintf("larger than %d MiB: this is no cluster spec", MaxBytes>>20)
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return 0, "saved as UTF-16: save it as UTF-8"
	}
	line = 1
	for i := 0; i < len(data); {
		c := data[i]
		if c < utf8.RuneSelf {
			if c == '\n' || c == '\r' && (i+1 == len(data) || data[i+1] != '\n') {
				line++
			} else if c < 0x20 && c != '\t' && c != '\r' || c == 0x7f {
				return line, fmt.Sprintf("holds the control character %#02x: a spec is plain text", c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, "not UTF-8: save the file as UTF-8"
		case r == 0x85 || r == 0x2028 || r == 0x2029:
			// YAML 1.1 takes these for line breaks and YAML 1.2 does not.
			return line, fmt.Sprintf("holds the line separator %U: use an ordinary line break", r)
		case r == 0xfeff && i > 0:
			return line, "has a byte order mark in the middle: two files were joined; remove it"
		}
		i += size
	}
	return 0, ""
}

// split cuts a stream into its documents. A line that starts with "---" or
// "..." and then a blank, or nothing, ends a document wherever it stands, even
// in a block scalar (YAML 1.2, 9.1.2), so lines are all that has to be looked
// at, and a mistake in one document cannot hide another.
//
// The text must have passed checkText. Line breaks may be LF, CRLF or CR.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, utf8BOM)
	var chunks []chunk
	current := chunk{line: 1}
	start := 0       // where the current document starts in data
	content := false // whether it has more than comments and directives
	flush := func(end, nextLine int) {
		if content {
			current.text = data[start:end]
			chunks = append(chunks, current)
		}
		current, start, content = chunk{line: nextLine}, end, false
	}
	line := 0
	for pos := 0; pos < len(data); {
		line++
		end, next := lineEnd(data, pos)
		text := data[pos:end]
		switch {
		case isMarker(text, "---"):
			if content {
				flush(pos, line)
			}
			content = true
		case isMarker(text, "..."):
			flush(next, line+1)
		case !content && (len(bytes.TrimSpace(text)) == 0 || text[0] == '#' || text[0] == '%' || bytes.TrimLeft(text, " \t")[0] == '#'):
			// Comments and directives before a document belong to it.
		default:
			content = true
		}
		pos = next
	}
	flush(len(data), line+1)
	return chunks
}

// lineEnd returns where the line at pos ends, and where the next one starts.
func lineEnd(data []byte, pos int) (end, next int) {
	i := bytes.IndexAny(data[pos:], "\r\n")
	if i < 0 {
		return len(data), len(data)
	}
	end = pos + i
	if data[end] == '\r' && end+1 < len(data) && data[end+1] == '\n' {
		return end, end + 2
	}
	return end, end + 1
}

// isMarker tells whether a line is a document marker.
func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	rest := line[len(marker):]
	return len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t'
}
