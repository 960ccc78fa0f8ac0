package mapping

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Encode writes a table as the data of an aws-auth ConfigMap, in the shape EKS
// Anywhere writes: a list of rolearn or userarn, username and groups under each
// key. The order is the table's. An empty section has no key. Parsed again, the
// data gives the same table.
func Encode(m Mappings) map[string]string {
	data := make(map[string]string)
	if len(m.Roles) > 0 {
		data[MapRoles] = encodeNode(entriesNode(MapRoles, m.Roles))
	}
	if len(m.Users) > 0 {
		data[MapUsers] = encodeNode(entriesNode(MapUsers, m.Users))
	}
	if len(m.Accounts) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, account := range m.Accounts {
			list.Content = append(list.Content, accountNode(account))
		}
		data[MapAccounts] = encodeNode(list)
	}
	return data
}

func entriesNode(section string, entries []Entry) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: make([]*yaml.Node, 0, len(entries))}
	for _, e := range entries {
		list.Content = append(list.Content, entryNode(section, e))
	}
	return list
}

// entryNode returns an entry as YAML, with the ARN's field named for the
// section.
func entryNode(section string, e Entry) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	set := func(field string, value *yaml.Node) {
		n.Content = append(n.Content, textNode(field), value)
	}
	if e.ARN != "" {
		field := fieldRoleARN
		if section == MapUsers {
			field = fieldUserARN
		}
		set(field, textNode(e.ARN))
	}
	if e.SSO != nil {
		sso := &yaml.Node{Kind: yaml.MappingNode}
		sso.Content = append(sso.Content,
			textNode(fieldPermissionSet), textNode(e.SSO.PermissionSetName),
			textNode(fieldAccountID), accountNode(e.SSO.AccountID))
		if e.SSO.Partition != "" {
			sso.Content = append(sso.Content, textNode(fieldPartition), textNode(e.SSO.Partition))
		}
		set(fieldSSO, sso)
	}
	set(fieldUsername, textNode(e.Username))
	if len(e.Groups) > 0 {
		groups := &yaml.Node{Kind: yaml.SequenceNode}
		for _, g := range e.Groups {
			groups.Content = append(groups.Content, textNode(g))
		}
		set(fieldGroups, groups)
	}
	if e.UserID != "" {
		set(fieldUserID, textNode(e.UserID))
	}
	return n
}

// textNode returns a string, in quotes unless every reader of YAML, old or new,
// takes it for one without.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ToValidUTF8(s, "\uFFFD")}
	if !isPlain(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isPlain tells whether s can stand in YAML without quotes. It errs on the side
// of quotes.
func isPlain(s string) bool {
	if s == "" || s[len(s)-1] == ':' {
		return false
	}
	if c := s[0] | 0x20; c < 'a' || c > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("+=,.@_-:/", c) >= 0:
		default:
			return false
		}
	}
	return !isReserved(s)
}

// isReserved tells whether YAML 1.1 takes a word for something else than text.
func isReserved(s string) bool {
	if len(s) > len("false") {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return true
	}
	return false
}

// accountNode returns an account's number, in quotes so that no reader takes it
// for a number.
func accountNode(s string) *yaml.Node {
	n := textNode(s)
	n.Style = yaml.DoubleQuotedStyle
	return n
}

// encodeNode writes a node as YAML. Lists stand under their field without
// further indentation, as kubectl and EKS Anywhere write them.
func encodeNode(n *yaml.Node) string {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	// A buffer takes everything, and the nodes are well-formed: the encoder
	// has nothing to fail on.
	_ = enc.Encode(n)
	_ = enc.Close()
	return b.String()
}
