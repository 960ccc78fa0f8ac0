package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxError is YAML that cannot be read.
type syntaxError struct {
	line    int
	message string
}

var (
	yamlDirective = regexp.MustCompile(`(?m)^%YAML[ \t]+1\.`)
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	bareBraces    = regexp.MustCompile(`(^|[:\-,\[{])[ \t]+\{\{`)
)

// parseNode reads the one node of a document; nil if it is empty.
func parseNode(c chunk) (*yaml.Node, *syntaxError) {
	// The YAML library reads 1.2 and refuses a directive that says so.
	text := yamlDirective.ReplaceAllFunc(c.text, func(m []byte) []byte {
		return append([]byte{'#'}, m[1:]...)
	})
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, explainSyntax(c, err)
	}
	// split has found every document, so a second one here would be a
	// disagreement about where documents end; nothing may be lost that way.
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, &syntaxError{line: c.line + max(second.Line, 1) - 1, message: "a second document starts here without a line \"---\" of its own"}
	} else if !errors.Is(err, io.EOF) {
		return nil, explainSyntax(c, err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// explainSyntax turns the YAML library's error into one with the file's own
// line, and into advice where the usual mistakes are made.
func explainSyntax(c chunk, err error) *syntaxError {
	text, line := splitLine(err)
	lines := bytes.SplitAfter(c.text, []byte("\n"))
	if len(c.text) <= maxSearched {
		line = findLine(lines, text)
	}
	line = min(max(line, 1), len(lines))
	written := strings.TrimRight(string(lines[line-1]), "\r\n")
	message := "not valid YAML: " + clip(text)
	anchor := unknownAnchor.FindStringSubmatch(text)
	switch indent := written[:len(written)-len(strings.TrimLeft(written, " \t"))]; {
	case anchor != nil:
		message = fmt.Sprintf("the alias *%s has no anchor &%s before it in this document", clip(anchor[1]), clip(anchor[1]))
	case strings.Contains(indent, "\t"):
		message = "a tab indents this line: YAML takes spaces only"
	case strings.Contains(text, "tab character"):
		message = "a tab stands where YAML takes spaces only"
	case hasVariable(written):
		message += fmt.Sprintf(" (${%s} is a variable of a template's: fill it in, or make the file with \"clusterctl generate\")", clip(variable.FindStringSubmatch(written)[1]))
	case bareBraces.MatchString(written):
		message += " (a value that starts with {{ needs quotes)"
	case strings.Contains(text, "cannot start any token"):
		message += " (a value that starts with @, ` or % needs quotes)"
	case strings.Contains(text, "mapping values are not allowed"):
		message += " (a value with \": \" in it needs quotes; or the line is indented too far)"
	}
	return &syntaxError{line: c.line + line - 1, message: message}
}

// splitLine takes the YAML library's error apart.
func splitLine(err error) (text string, line int) {
	text, line = strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			line = n
		}
		text = text[len(m[0]):]
	}
	return text, line
}

// maxSearched bounds the text in which findLine looks for a mistake.
const maxSearched = 512 << 10

// findLine returns the first line with which the document has that mistake. The
// library's own number is often that of the construct around it, or off by one,
// or missing.
func findLine(lines [][]byte, mistake string) int {
	text := bytes.Join(lines, nil)
	end := 0
	ends := make([]int, len(lines))
	for i, l := range lines {
		end += len(l)
		ends[i] = end
	}
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		var n yaml.Node
		err := yaml.Unmarshal(text[:ends[i]], &n)
		if err == nil {
			return false
		}
		got, _ := splitLine(err)
		return got == mistake
	})
}
