package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/capiam/capiam/pkg/iam"
)

// Fields of an entry in aws-auth, as they are written. They are read in any
// case.
const (
	fieldRoleARN       = "rolearn"
	fieldUserARN       = "userarn"
	fieldUsername      = "username"
	fieldGroups        = "groups"
	fieldUserID        = "userid"
	fieldSSO           = "sso"
	fieldPermissionSet = "permissionSetName"
	fieldAccountID     = "accountID"
	fieldPartition     = "partition"
)

// Bounds on what an entry may be made of: how deep merge keys ("<<") may lead,
// and how many fields it may have. None in use comes near.
const (
	mostMerges = 8
	mostFields = 32
)

// itemParser reads the items of one key. Its errors are about cost, and break
// the key; everything else is a finding.
type itemParser struct {
	key      string
	index    int
	reader   *reader
	check    checker
	findings []Finding
	// damaged is set by an Error about the item being read.
	damaged bool
	// lost is the item's, see there.
	lost *Finding
	// twice are the fields that the item has again.
	twice []field
	// misplaced is the ARN that the item has in the other section's field.
	misplaced string
}

// field is one field of an item.
type field struct {
	name  string // as written
	value *yaml.Node
}

func (p *itemParser) report(severity Severity, line int, field, format string, args ...any) {
	if severity == Error {
		p.damaged = true
	}
	p.findings = append(p.findings, Finding{
		Severity: severity, Key: p.key, Index: p.index, Line: line, Field: field, Message: fmt.Sprintf(format, args...),
	})
}

// item reads one item.
func (p *itemParser) item(n *yaml.Node) (item, error) {
	p.damaged, p.lost, p.twice, p.misplaced = false, nil, nil, ""
	line := n.Line
	n, err := p.reader.follow(n)
	if err != nil {
		return item{}, err
	}
	var it item
	if p.key == MapAccounts {
		it.account, it.id = p.account(n, line)
	} else {
		it.entry, err = p.entry(n, line)
		it.id, _ = identity(it.entry, "")
		if p.damaged && it.entry.ARN == "" && it.entry.SSO == nil {
			it.entry.ARN = p.misplaced // it tells at least who is not meant
		}
	}
	it.damaged, it.lost = p.damaged, p.lost
	return it, err
}

// account reads an account's number. One without quotes is a number to YAML,
// and still has its text.
func (p *itemParser) account(n *yaml.Node, line int) (account, id string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		p.report(Error, line, "", "%s is not an account", kindOf(n))
		return "", ""
	}
	if !iam.IsAccountID(n.Value) {
		p.report(Error, line, "", "%q is not an account's twelve digits", clip(n.Value))
		return n.Value, ""
	}
	return n.Value, n.Value
}

// entry reads an entry, as much of it as can be made out.
func (p *itemParser) entry(n *yaml.Node, line int) (Entry, error) {
	var e Entry
	if n.Kind != yaml.MappingNode {
		p.report(Error, line, "", "%s is not an entry: it wants the fields %s, username and groups", kindOf(n), p.arnField())
		return e, nil
	}
	fields, err := p.fields(n, "", mostMerges)
	if err == nil {
		err = p.swallowed(fields)
	}
	if err != nil {
		return e, err
	}
	for _, f := range fields {
		switch strings.ToLower(f.name) {
		case p.arnField():
			e.ARN = p.text(f, "arn")
		case fieldRoleARN, fieldUserARN:
			p.misplaced = f.value.Value
			p.report(Warning, f.value.Line, "", "%s has no meaning under %s; it is %s here", f.name, p.key, p.arnField())
		case fieldUsername:
			e.Username = p.text(f, fieldUsername)
		case fieldGroups:
			e.Groups, err = p.groups(f)
		case fieldUserID:
			e.UserID = p.text(f, fieldUserID)
		case fieldSSO:
			e.SSO, err = p.sso(f)
		default:
			p.report(Warning, f.value.Line, "", "unknown field %q, not read", clip(f.name))
			if MisspeltGroups(f.name) {
				p.mayLose(f)
			}
		}
		if err != nil {
			return e, err
		}
	}
	if e.Groups != nil { // a list, if only an empty one
		p.lost = nil
	}
	if p.damaged {
		return e, nil
	}
	read, faults := p.check.entry(p.key, e)
	if read.arn.Kind == iam.KindAssumedRole {
		p.report(Error, p.lineOf("arn", fields, line), "arn", "%s", ofSession(read.arn))
	}
	for _, f := range faults {
		if f.level == fatal { // the index reports what can be honoured all the same
			p.report(Error, p.lineOf(f.field, fields, line), f.field, "%s", f.message)
		}
	}
	return e, nil
}

// swallowed tells whether an item is two, the dash before the second one being
// lost: it has fields twice, and names two principals. Whom the second one maps is
// not known then, so it breaks the key.
func (p *itemParser) swallowed(fields []field) error {
	if len(p.twice) == 0 {
		return nil
	}
	var first *yaml.Node
	for _, f := range slices.Concat(fields, p.twice) {
		switch {
		case !namesPrincipal(f.name):
		case first == nil:
			first = f.value
		case f.value.Kind != yaml.ScalarNode || f.value.Value != first.Value:
			return &syntaxError{line: f.value.Line, message: fmt.Sprintf("its entry has another principal before this %s: each entry starts with \"- \"", clip(f.name))}
		}
	}
	return nil
}

// namesPrincipal tells whether a field says who an entry is for.
func namesPrincipal(name string) bool {
	name = strings.ToLower(name)
	return name == fieldRoleARN || name == fieldUserARN || name == fieldSSO
}

// lineOf returns the line of the field that a fault is about, or the entry's.
func (p *itemParser) lineOf(name string, fields []field, line int) int {
	name, rest, _ := strings.Cut(name, "[")
	name, _, _ = strings.Cut(name, ".")
	if name == "arn" {
		name = p.arnField()
	}
	for _, f := range fields {
		if !strings.EqualFold(f.name, name) {
			continue
		}
		if i, err := strconv.Atoi(strings.TrimSuffix(rest, "]")); err == nil && i < len(f.value.Content) {
			return f.value.Content[i].Line
		}
		return f.value.Line
	}
	return line
}

// arnField returns the field the key's entries have their ARN in.
func (p *itemParser) arnField() string {
	if p.key == MapUsers {
		return fieldUserARN
	}
	return fieldRoleARN
}

// fields returns a mapping's fields, merge keys followed and each field once.
func (p *itemParser) fields(n *yaml.Node, path string, depth int) ([]field, error) {
	var own, merged []field
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, err := p.reader.follow(n.Content[i])
		if err != nil {
			return nil, err
		}
		if k.Kind != yaml.ScalarNode {
			p.report(Error, k.Line, path, "%s is not the name of a field (a value that starts with {{ must stand in quotes)", kindOf(k))
			continue
		}
		v, err := p.reader.follow(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		if k.ShortTag() == "!!merge" {
			more, err := p.mergedFields(v, path, depth-1)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		if len(own) == mostFields {
			p.report(Error, k.Line, path, "more than %d fields", mostFields)
			return own, nil
		}
		if has(own, k.Value) {
			p.report(Error, k.Line, path, "%s is there twice", clip(k.Value))
			if path == "" {
				p.twice = append(p.twice, field{name: k.Value, value: v})
			}
			continue
		}
		own = append(own, field{name: k.Value, value: v})
	}
	for _, f := range merged {
		if len(own) < mostFields && !has(own, f.name) {
			own = append(own, f)
		}
	}
	return own, nil
}

// mergedFields returns the fields a merge key stands for.
func (p *itemParser) mergedFields(v *yaml.Node, path string, depth int) ([]field, error) {
	if depth == 0 {
		return nil, errors.New("its merge keys lead too deep; write the entries out")
	}
	switch v.Kind {
	case yaml.MappingNode:
		return p.fields(v, path, depth)
	case yaml.SequenceNode:
		var all []field
		for _, n := range v.Content {
			n, err := p.reader.follow(n)
			if err != nil {
				return nil, err
			}
			more, err := p.mergedFields(n, path, depth-1)
			if err != nil {
				return nil, err
			}
			for _, f := range more {
				if len(all) < mostFields && !has(all, f.name) {
					all = append(all, f)
				}
			}
		}
		return all, nil
	default:
		p.report(Error, v.Line, path, "the merge key << wants a mapping, and has %s", kindOf(v))
		return nil, nil
	}
}

func has(fields []field, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return true
		}
	}
	return false
}

// text reads a field that holds text. Null is as good as empty.
func (p *itemParser) text(f field, path string) string {
	if isText(f.value) {
		return f.value.Value
	}
	switch {
	case isNull(f.value):
	case f.value.Kind == yaml.MappingNode && f.value.Style&yaml.FlowStyle != 0:
		p.report(Error, f.value.Line, path, "a value that starts with { must stand in quotes: quote it")
	default:
		p.report(Error, f.value.Line, path, "%s is not text: quote it", kindOf(f.value))
	}
	return ""
}

// mayLose notes that a field may be why the entry has no groups.
func (p *itemParser) mayLose(f field) {
	if p.lost == nil || strings.EqualFold(f.name, fieldGroups) {
		p.lost = &Finding{
			Severity: Error, Key: p.key, Index: p.index, Line: f.value.Line, Field: fieldGroups, Message: lostBy(f.name),
		}
	}
}

// lostBy says that an entry has no groups any more, because of a field.
func lostBy(name string) string {
	why := "\"groups\" has nothing after it"
	if !strings.EqualFold(name, fieldGroups) {
		why = fmt.Sprintf("the field %q is unknown", clip(name))
	}
	return "none, where there were some before, and " + why + ": write groups: [] if none are meant"
}

// groups reads the list of groups.
func (p *itemParser) groups(f field) ([]string, error) {
	if isNull(f.value) {
		p.mayLose(f)
		return nil, nil
	}
	if f.value.Kind != yaml.SequenceNode {
		p.report(Error, f.value.Line, fieldGroups, "%s is not a list: put each group on a line of its own, after \"- \"", kindOf(f.value))
		return nil, nil
	}
	groups := make([]string, 0, len(f.value.Content))
	for i, n := range f.value.Content {
		line := n.Line
		n, err := p.reader.follow(n)
		if err != nil {
			return nil, err
		}
		if holdsEntry(n) {
			return nil, &syntaxError{line: line, message: "an entry stands among the groups of another one: indent it like that one"}
		}
		if !isText(n) {
			p.report(Error, line, fmt.Sprintf("groups[%d]", i), "%s is not text: quote it", kindOf(n))
		}
		groups = append(groups, n.Value)
	}
	return groups, nil
}

// holdsEntry tells whether a node in a list of groups is an entry, which has been
// indented too far. Whom it maps must not be lost with its neighbour, so it breaks
// the key.
func holdsEntry(n *yaml.Node) bool {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if namesPrincipal(n.Content[i].Value) {
			return true
		}
	}
	return false
}

// sso reads the name of a permission set.
func (p *itemParser) sso(f field) (*SSO, error) {
	if isNull(f.value) {
		return nil, nil
	}
	if f.value.Kind != yaml.MappingNode {
		p.report(Error, f.value.Line, fieldSSO, "%s is not a permission set: it wants permissionSetName and accountID", kindOf(f.value))
		return nil, nil
	}
	fields, err := p.fields(f.value, fieldSSO, mostMerges)
	if err != nil {
		return nil, err
	}
	var s SSO
	for _, f := range fields {
		switch strings.ToLower(f.name) {
		case strings.ToLower(fieldPermissionSet):
			s.PermissionSetName = p.text(f, "sso."+fieldPermissionSet)
		case strings.ToLower(fieldAccountID):
			if f.value.Kind == yaml.ScalarNode && !isNull(f.value) {
				s.AccountID = f.value.Value // with or without quotes
			}
		case fieldPartition:
			s.Partition = p.text(f, "sso."+fieldPartition)
		default:
			p.report(Warning, f.value.Line, fieldSSO, "unknown field %q, not read", clip(f.name))
		}
	}
	return &s, nil
}
