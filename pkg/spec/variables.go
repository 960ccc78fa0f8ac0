package spec

import (
	"fmt"
	"regexp"
	"slices"
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

// templateNames are variables that every template of clusterctl's may have.
var templateNames = []string{"CLUSTER_NAME", "CONTROL_PLANE_MACHINE_COUNT", "KUBERNETES_VERSION", "NAMESPACE", "WORKER_MACHINE_COUNT"}

// checkVariables finds variables of a template that nobody has filled in. In a
// script the same letters are a variable of the shell's, which is right: there
// it takes one of clusterctl's own names to make it a warning.
func (p *parser) checkVariables(f *foreign) {
	const hint = "write its value, or make the file with \"clusterctl generate\""
	find := func(name, path string, line int, script bool) {
		switch {
		case !script:
			p.reportIn(f.file, line, f.label(), path, fmt.Sprintf("the variable ${%s} is not filled in: %s", clip(name), hint))
			f.damaged[path] = true
		case slices.Contains(templateNames, name):
			p.warnIn(f.file, line, f.label(), path, fmt.Sprintf("holds ${%s}: unless the script gives it a value, %s", name, hint))
		}
	}
	var walk func(v *value, path string)
	walk = func(v *value, path string) {
		switch v.kind {
		case objectValue:
			for _, field := range v.fields {
				at := join(path, field.name)
				for _, m := range variable.FindAllStringSubmatch(field.name, -1) {
					find(m[1], at, field.line, false)
				}
				walk(field.value, at)
			}
		case listValue:
			for i, item := range v.items {
				walk(item, fmt.Sprintf("%s[%d]", path, i))
			}
		case scalarValue:
			text := v.node.Value
			script := strings.Contains(text, "\n") || machineText.MatchString(path)
			for _, m := range variable.FindAllStringSubmatchIndex(text, -1) {
				line := v.line
				if v.node.Style&yaml.LiteralStyle != 0 { // its lines are the file's
					line += 1 + strings.Count(text[:m[0]], "\n")
				}
				find(text[m[2]:m[3]], path, line, script)
			}
		}
	}
	walk(f.root, "")
}
