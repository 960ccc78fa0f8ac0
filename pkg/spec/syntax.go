package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
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
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			line = n
		}
		text = text[len(m[0]):]
		// The library counts the lines of its parser from 0 and those of its
		// scanner from 1; these are the parser's messages.
		if strings.HasPrefix(text, "did not find expected '-'") || strings.HasPrefix(text, "did not find expected ',' or") ||
			text == "did not find expected key" || text == "did not find expected node content" ||
			strings.HasPrefix(text, "did not find expected <") {
			line++
		}
	}
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(string(c.text), "\r\n", "\n"), "\r", "\n"), "\n")
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		for i, l := range lines {
			if strings.Contains(l, "*"+m[1]) {
				line = i + 1
				break
			}
		}
		return &syntaxError{line: c.line + line - 1, message: fmt.Sprintf("the alias *%s has no anchor &%s before it in this document", clip(m[1]), clip(m[1]))}
	}
	line = min(max(line, 1), len(lines))
	message := "not valid YAML: " + clip(text)
	written := lines[line-1]
	switch indent := written[:len(written)-len(strings.TrimLeft(written, " \t"))]; {
	case strings.Contains(indent, "\t"):
		message = "a tab indents this line: YAML takes spaces only"
	case strings.Contains(text, "tab character"):
		message = "a tab stands where YAML takes spaces only"
	case bareBraces.MatchString(written):
		message += " (a value that starts with {{ needs quotes)"
	case strings.Contains(text, "cannot start any token"):
		message += " (a value that starts with @, ` or % needs quotes)"
	case strings.Contains(text, "mapping values are not allowed"):
		message += " (a value with \": \" in it needs quotes; or the line is indented too far)"
	}
	return &syntaxError{line: c.line + line - 1, message: message}
}
