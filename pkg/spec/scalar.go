package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yaml11Bools are the words that are booleans to readers of YAML 1.1, kubectl
// and EKS Anywhere among them, and text to readers of YAML 1.2.
var yaml11Bools = []string{"y", "n", "yes", "no", "on", "off"}

// notString says why a scalar is not a string, or returns nothing. What needs
// quotes to be one is refused rather than guessed at: 0123 may have been meant
// as four digits or as 83.
func notString(n *yaml.Node) string {
	text := clip(n.Value)
	switch tag := n.ShortTag(); tag {
	case "!!str":
		if isPlain(n) && slices.Contains(yaml11Bools, strings.ToLower(n.Value)) {
			return fmt.Sprintf("want a string, and some programs read a bare %s as true or false: write %q", text, text)
		}
		return ""
	case "!!int", "!!float":
		return fmt.Sprintf("want a string, and without quotes %s is a number: write %q", text, text)
	case "!!bool":
		return fmt.Sprintf("want a string, and without quotes %s is true or false: write %q", text, text)
	case "!!timestamp":
		return fmt.Sprintf("want a string, and without quotes %s is a date: write %q", text, text)
	default:
		return fmt.Sprintf("want a string, this has the YAML tag %s", clip(tag))
	}
}

// isPlain tells whether a scalar is written without quotes and without a tag.
func isPlain(n *yaml.Node) bool {
	const marked = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle
	return n.Style&marked == 0
}

// parseInt reads a whole number, and says why it cannot.
func parseInt(n *yaml.Node) (int, string) {
	text := clip(n.Value)
	switch n.ShortTag() {
	case "!!int":
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			return 0, fmt.Sprintf("want a whole number in ordinary digits, this is %s", text)
		}
		return i, ""
	case "!!str":
		if _, err := strconv.Atoi(n.Value); err == nil {
			return 0, fmt.Sprintf("want a number, and in quotes it is a string: write %s", text)
		}
	}
	return 0, fmt.Sprintf("want a whole number, this is %q", text)
}

// parseBool reads true or false, and says why it cannot.
func parseBool(n *yaml.Node) (bool, string) {
	if n.ShortTag() == "!!bool" {
		return strings.EqualFold(n.Value, "true"), ""
	}
	return false, fmt.Sprintf("want true or false without quotes, this is %q", clip(n.Value))
}

// templateHint returns the message, or a better one if what was parsed as an
// object is a template that lacks its quotes: {{SessionName}} is YAML for an
// object whose only key is an object.
func templateHint(n *yaml.Node, message string) string {
	if name, ok := bareTemplate(n); ok {
		return fmt.Sprintf("a value that starts with {{ needs quotes: write \"{{%s}}\"", clip(name))
	}
	return message
}

// bareTemplate returns the variable's name if the node is {{name}} without
// quotes.
func bareTemplate(n *yaml.Node) (string, bool) {
	if n == nil || n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle == 0 || len(n.Content) != 2 {
		return "", false
	}
	inner := n.Content[0]
	if inner.Kind != yaml.MappingNode || inner.Style&yaml.FlowStyle == 0 || len(inner.Content) != 2 || inner.Content[0].Kind != yaml.ScalarNode {
		return "", false
	}
	return inner.Content[0].Value, true
}
