package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder walks a YAML tree by hand, because the library's own strict mode
// stops at the first wrong type, compares keys with regard to case, and turns
// an unquoted account number into an octal one.
type decoder struct {
	file     string
	problems Errors
}

// field is a key's proper spelling and what reads its value.
type field struct {
	name string
	read func(n *yaml.Node, key string)
}

// fields are an object's keys, in lower case.
type fields map[string]field

func (d *decoder) fail(n *yaml.Node, key, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: n.Line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// object reads a mapping node.
func (d *decoder) object(n *yaml.Node, path string, known fields) {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want keys and values, got %s", kind(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		lower := strings.ToLower(k.Value)
		f, ok := known[lower]
		if !ok {
			names := make([]string, 0, len(known))
			for _, f := range known {
				names = append(names, f.name)
			}
			slices.Sort(names)
			d.fail(k, join(path, k.Value), "unknown key (known here: %s)", strings.Join(names, ", "))
			continue
		}
		if line, dup := seen[lower]; dup {
			d.fail(k, join(path, f.name), "given twice, first in line %d", line)
			continue
		}
		seen[lower] = k.Line
		f.read(follow(v), join(path, f.name))
	}
}

// list reads a sequence node, one element at a time.
func (d *decoder) list(element func(n *yaml.Node, key string)) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if isNull(n) {
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.fail(n, key, "want a list, got %s", kind(n))
			return
		}
		for i, e := range n.Content {
			element(follow(e), fmt.Sprintf("%s[%d]", key, i))
		}
	}
}

// text reads a scalar as the text it was written with, so that an unquoted
// account number keeps its zeros.
func (d *decoder) text(to *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		switch {
		case isNull(n):
		case n.Kind != yaml.ScalarNode:
			d.fail(n, key, "want a string, got %s", kind(n))
		case n.Tag == "!!bool":
			d.fail(n, key, "want a string, got %s: put it in quotes", kind(n))
		default:
			*to = n.Value
		}
	}
}

// filled reads a text that must not be empty, where the default is not: an empty
// one would have to mean something else than its absence.
func (d *decoder) filled(to *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if n.Kind == yaml.ScalarNode && !isNull(n) && n.Value == "" {
			d.fail(n, key, "must not be empty: leave the key out for the default")
			return
		}
		d.text(to)(n, key)
	}
}

func (d *decoder) texts(to *[]string) func(*yaml.Node, string) {
	return d.list(func(n *yaml.Node, key string) {
		var s string
		if isNull(n) {
			d.fail(n, key, "want a string, got nothing")
			return
		}
		d.text(&s)(n, key)
		*to = append(*to, s)
	})
}

// groups is texts for an entry's groups, and notes whether nothing stands there.
func (d *decoder) groups(to *[]string, blank *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		*blank = isNull(n)
		d.texts(to)(n, key)
	}
}

// words reads a list, or one text with blanks between the elements, as the
// original does, or with commas, as the flag has them.
func (d *decoder) words(to *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if n.Kind != yaml.ScalarNode || isNull(n) {
			d.texts(to)(n, key)
			return
		}
		if strings.TrimSpace(n.Value) == "" {
			return
		}
		for part := range strings.SplitSeq(n.Value, ",") {
			words := strings.Fields(part)
			if len(words) == 0 {
				d.fail(n, key, "an element is missing in %s", kind(n))
				return
			}
			*to = append(*to, words...)
		}
	}
}

// modes reads the backends. None at all would not be the default.
func (d *decoder) modes(to *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		problems := len(d.problems)
		d.words(to)(n, key)
		if len(*to) == 0 && len(d.problems) == problems && !isNull(n) {
			d.fail(n, key, "must not be empty: leave the key out for the default")
		}
	}
}

// integer reads a whole number in a range that does not include 0, which stands
// for a key that is not there.
func (d *decoder) integer(to *int, least, most int) func(*yaml.Node, string) {
	return d.number(least, most, func(i int) { *to = i })
}

// size reads a whole number that may be 0.
func (d *decoder) size(to **int) func(*yaml.Node, string) {
	return d.number(0, math.MaxInt, func(i int) { *to = &i })
}

func (d *decoder) number(least, most int, set func(int)) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if isNull(n) {
			return
		}
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || i < least || i > most {
			d.fail(n, key, "want a whole number %s, got %s", numberRange(least, most), kind(n))
			return
		}
		set(i)
	}
}

// numberRange says in words what a number may be.
func numberRange(least, most int) string {
	if most == math.MaxInt {
		return fmt.Sprintf("of at least %d", least)
	}
	return fmt.Sprintf("from %d to %d", least, most)
}

func (d *decoder) boolean(to **bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if isNull(n) {
			return
		}
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.fail(n, key, "want true or false, got %s", kind(n))
			return
		}
		*to = &b
	}
}

func (d *decoder) duration(to **time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if isNull(n) {
			return
		}
		v, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < 0 {
			d.fail(n, key, `want a length of time such as "10m" or "0s", got %s`, kind(n))
			return
		}
		*to = &v
	}
}

// notHonoured refuses a key that the original knows and this server does not
// act on.
func (d *decoder) notHonoured(why string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		d.fail(n, key, "not honoured by this server: %s", why)
	}
}

// follow resolves an alias to what it stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kind says what a node is, for an error message.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	if isNull(n) {
		return "nothing"
	}
	v := n.Value
	if len(v) > 40 {
		v = v[:40] + "..."
	}
	return strconv.Quote(v)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
