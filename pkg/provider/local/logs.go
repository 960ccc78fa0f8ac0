package local

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
)

// stack is where Go's dump of its goroutines begins, after its last words.
var stack = regexp.MustCompile(`(?m)^goroutine \d+ [^\n]*\[[^\n]*\]:$`)

// LogTail returns the last lines of a component's log, ready to stand at the
// end of an error, or nothing if there are none. Of a program that panicked
// these are the lines before the stack.
func (l Layout) LogTail(component string) string {
	const lines = 5
	text := l.logEnd(component)
	if at := stack.FindStringIndex(text); at != nil {
		text = text[:at[0]]
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	return "\nthe end of " + l.Log(component) + ":\n  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

// lastWords is what a control plane that has ended left in its logs.
func (l Layout) lastWords() string {
	words := l.LogTail("capiam-local")
	// etcd says what was wrong in its own log alone.
	all := strings.Split(strings.TrimSpace(l.logEnd("etcd")), "\n")
	var last struct{ Level, Msg, Error string }
	if json.Unmarshal([]byte(all[len(all)-1]), &last) != nil || !slices.Contains([]string{"error", "panic", "fatal"}, last.Level) {
		return words
	}
	words += "\netcd: " + last.Msg
	if last.Error != "" {
		words += ": " + last.Error
	}
	return words
}

// logEnd returns what a component logged last, or nothing.
func (l Layout) logEnd(component string) string {
	const most = 64 << 10
	data, err := os.ReadFile(l.Log(component))
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-most):])
}
