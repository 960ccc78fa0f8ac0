package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Issue is one problem of a spec.
type Issue struct {
	// File is the name the spec was given by, "<stdin>" for standard input; or
	// that of a file which the spec names, as seen from the same directory.
	File string
	// Line counts from 1; it is 0 if the problem is the file's as a whole.
	Line int
	// Object is Kind/name, or the kind alone if it has no name, or empty if it
	// is not known which object this is.
	Object string
	// Field is the path of the field, "spec.mapRoles[2].roleARN", or empty if
	// the problem is the object's as a whole.
	Field string
	// Message says what is wrong and what to do.
	Message string
}

// String returns the issue as one line: file:line: Kind/name: field: message.
// Parts that are not known are left out with their colon.
func (i Issue) String() string {
	var b strings.Builder
	b.WriteString(i.File)
	if i.Line > 0 {
		fmt.Fprintf(&b, ":%d", i.Line)
	}
	for _, part := range []string{i.Object, i.Field, i.Message} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// Errors is every problem of a spec, sorted by file and line, the spec file
// first. It is never empty
// when it is returned as an error.
type Errors []Issue

// Error returns one line per issue.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, issue := range e {
		lines[i] = issue.String()
	}
	return strings.Join(lines, "\n")
}

// sortIssues puts issues in the order of their files and lines, and drops one
// that says the same as another: an anchor used twice would repeat its mistakes.
func sortIssues(issues []Issue, files []string) []Issue {
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Object, b.Object),
		)
	})
	return slices.Compact(issues)
}
