// Package applied keeps a note, on an object in a cluster, of the mappings
// that capiam applied to it last. It is what tells an entry that the spec no
// longer has, and which has to go, from one that somebody else wrote, which
// has to stay.
//
// Package render puts the note on what it renders and package install reads it
// back.
package applied

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// Annotation holds the note on the ConfigMap aws-auth.
const Annotation = "capiam.dev/last-applied-mappings"

// maxPlain is the longest note that is written out in full. All annotations of
// an object together may take 256 KiB, a quarter of what the mappings may.
const maxPlain = 64 << 10

// hashBytes is how much is kept of an entry's hash: of the 20,000 entries that
// fit into a ConfigMap, no two will share it.
const hashBytes = 8

// note is the annotation's value. Either the entries stand in it, or hashes of
// who they are for.
type note struct {
	Roles    []entry  `json:"roles,omitempty"`
	Users    []entry  `json:"users,omitempty"`
	Accounts []string `json:"accounts,omitempty"`
	// Hashes are the hashes of all identities, one after the other.
	Hashes []byte `json:"hashes,omitempty"`
}

type entry struct {
	ARN      string   `json:"arn,omitempty"`
	SSO      *sso     `json:"sso,omitempty"`
	UserID   string   `json:"userID,omitempty"`
	Username string   `json:"username"`
	Groups   []string `json:"groups,omitempty"`
}

type sso struct {
	PermissionSetName string `json:"permissionSetName"`
	AccountID         string `json:"accountID"`
	Partition         string `json:"partition,omitempty"`
}

// Encode returns the note for mappings. It is the same for the same mappings.
func Encode(m mapping.Mappings) (string, error) {
	n := note{Roles: entries(m.Roles), Users: entries(m.Users), Accounts: m.Accounts}
	text, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("encode last applied mappings: %w", err)
	}
	if len(text) <= maxPlain {
		return string(text), nil
	}
	n = note{}
	each(m, func(identity string) {
		sum := hash(identity)
		n.Hashes = append(n.Hashes, sum[:]...)
	})
	if text, err = json.Marshal(n); err != nil {
		return "", fmt.Errorf("encode last applied mappings: %w", err)
	}
	return string(text), nil
}

// Decode returns the mappings that a note tells of. Of a note that is too long
// to hold them, it returns those that are still in live, as they are there;
// the others need no removing. An empty note tells of none.
func Decode(text string, live mapping.Mappings) (mapping.Mappings, error) {
	if text == "" {
		return mapping.Mappings{}, nil
	}
	var n note
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return mapping.Mappings{}, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	if len(n.Hashes) == 0 {
		return mapping.Mappings{Roles: mappings(n.Roles), Users: mappings(n.Users), Accounts: n.Accounts}, nil
	}
	if len(n.Hashes)%hashBytes != 0 {
		return mapping.Mappings{}, fmt.Errorf("annotation %s: %d bytes of hashes, want a multiple of %d",
			Annotation, len(n.Hashes), hashBytes)
	}
	known := make(map[[hashBytes]byte]bool, len(n.Hashes)/hashBytes)
	for h := n.Hashes; len(h) > 0; h = h[hashBytes:] {
		known[[hashBytes]byte(h)] = true
	}
	var m mapping.Mappings
	for _, e := range live.Roles {
		if known[hash(Identity(e))] {
			m.Roles = append(m.Roles, e)
		}
	}
	for _, e := range live.Users {
		if known[hash(Identity(e))] {
			m.Users = append(m.Users, e)
		}
	}
	for _, a := range live.Accounts {
		if known[hash(account(a))] {
			m.Accounts = append(m.Accounts, a)
		}
	}
	return m, nil
}

// Identity returns a text that is the same for two entries if they are for the
// same principal or permission set.
func Identity(e mapping.Entry) string {
	if e.SSO != nil {
		return strings.Join([]string{"sso", e.SSO.Partition, e.SSO.AccountID, e.SSO.PermissionSetName}, "/")
	}
	arn, err := iam.ParseARNAnyCase(e.ARN)
	if err != nil {
		return strings.ToLower(e.ARN)
	}
	return arn.Key().String()
}

func account(id string) string { return "account/" + id }

func hash(identity string) [hashBytes]byte {
	sum := sha256.Sum256([]byte(identity))
	return [hashBytes]byte(sum[:hashBytes])
}

func each(m mapping.Mappings, f func(identity string)) {
	for _, e := range m.Roles {
		f(Identity(e))
	}
	for _, e := range m.Users {
		f(Identity(e))
	}
	for _, a := range m.Accounts {
		f(account(a))
	}
}

func entries(from []mapping.Entry) []entry {
	var to []entry
	for _, e := range from {
		n := entry{ARN: e.ARN, UserID: e.UserID, Username: e.Username, Groups: e.Groups}
		if e.SSO != nil {
			s := sso(*e.SSO)
			n.SSO = &s
		}
		to = append(to, n)
	}
	return to
}

func mappings(from []entry) []mapping.Entry {
	var to []mapping.Entry
	for _, e := range from {
		n := mapping.Entry{ARN: e.ARN, UserID: e.UserID, Username: e.Username, Groups: e.Groups}
		if e.SSO != nil {
			s := mapping.SSO(*e.SSO)
			n.SSO = &s
		}
		to = append(to, n)
	}
	return to
}
