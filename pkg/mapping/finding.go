package mapping

import (
	"fmt"
	"strings"
)

// Keys of the aws-auth ConfigMap; also the names of a table's sections in
// findings, problems and plans.
const (
	MapRoles    = "mapRoles"
	MapUsers    = "mapUsers"
	MapAccounts = "mapAccounts"
)

// Severity tells what became of the thing a finding is about.
type Severity uint8

const (
	// Warning is for what is honoured although it should be put right.
	Warning Severity = iota + 1
	// Error is for what is not honoured.
	Error
)

// String returns "warning" or "error".
func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Error:
		return "error"
	default:
		return "unknown"
	}
}

// Finding is something wrong in a table that is in use. Whoever meets one
// reports it and goes on: a table is never refused as a whole.
type Finding struct {
	Severity Severity
	// Source is the backend the table came from; empty if only one is meant.
	Source string
	// Key is the section: mapRoles, mapUsers, mapAccounts, or another key of
	// the ConfigMap.
	Key string
	// Index is the place in the section's list, from 0; -1 is the whole key.
	Index int
	// Line is the line in the key's own text, from 1; 0 is unknown.
	Line int
	// Field is the entry's field, "groups[2]" say; empty is the whole entry.
	Field string
	// Message says what is wrong and what to do. It holds no credentials, and
	// only short pieces of what was written.
	Message string
}

// String returns the finding on one line, without its severity:
// "EKSConfigMap: mapRoles[1].username (line 7): ...".
func (f Finding) String() string {
	var b strings.Builder
	if f.Source != "" {
		b.WriteString(f.Source)
		b.WriteString(": ")
	}
	b.WriteString(place(f.Key, f.Index, f.Field))
	if f.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", f.Line)
	}
	b.WriteString(": ")
	b.WriteString(f.Message)
	return b.String()
}

// place names an entry's field: "mapRoles[1].username".
func place(section string, index int, field string) string {
	var b strings.Builder
	b.WriteString(section)
	if index >= 0 {
		fmt.Fprintf(&b, "[%d]", index)
	}
	if field != "" {
		b.WriteByte('.')
		b.WriteString(field)
	}
	return b.String()
}

// clip shortens what a stranger wrote, for a message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
