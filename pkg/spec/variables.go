package spec

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// variable is what "clusterctl generate" fills in: ${NAME}, ${NAME:=default} and
// the like.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)[^A-Za-z0-9_]`)

func hasVariable(s string) bool { return variable.MatchString(s) }

// machineText matches the fields of Cluster API's bootstrap objects whose text
// is a machine's to read: scripts, and names that an image's own script fills in.
var machineText = regexp.MustCompile(`(Commands\[\d+\]|\.content|\.nodeRegistration\..*)$`)

// checkVariables finds variables of a template that nobody has filled in. In a
// script the same letters are a variable of the shell's, which is right; so
// there it is a warning.
func (p *parser) checkVariables(f *foreign) {
	find := func(text, path string, line int, script bool) {
		m := variable.FindStringSubmatchIndex(text)
		if m == nil {
			return
		}
		name := clip(text[m[2]:m[3]])
		if script {
			p.warnIn(f.file, line, f.label(), path, fmt.Sprintf("holds ${%s}: right in a script; if it is a variable of a template's, fill it in with \"clusterctl generate cluster\" or \"clusterctl generate yaml\"", name))
			return
		}
		p.reportIn(f.file, line, f.label(), path, fmt.Sprintf("the variable ${%s} is not filled in: write its value, or make the file with \"clusterctl generate cluster\" or \"clusterctl generate yaml\"", name))
		f.damaged[path] = true
	}
	var walk func(v *value, path string)
	walk = func(v *value, path string) {
		switch v.kind {
		case objectValue:
			for _, field := range v.fields {
				at := join(path, field.name)
				find(field.name, at, field.line, false)
				walk(field.value, at)
			}
		case listValue:
			for i, item := range v.items {
				walk(item, fmt.Sprintf("%s[%d]", path, i))
			}
		case scalarValue:
			text, line := v.node.Value, v.line
			script := strings.Contains(text, "\n") || machineText.MatchString(path)
			if m := variable.FindStringIndex(text); m != nil && v.node.Style&yaml.LiteralStyle != 0 {
				line += 1 + strings.Count(text[:m[0]], "\n")
			}
			find(text, path, line, script)
		}
	}
	walk(f.root, "")
}
