package mapping

import (
	"fmt"

	"github.com/capiam/capiam/pkg/iam"
)

// CheckOptions say what a table is checked for.
type CheckOptions struct {
	// Partition is the cluster's; entries of another are refused. Empty takes
	// any.
	Partition string
	// JWTOnly says that logins come by JWT alone, so that variables a JWT has
	// no value for are refused.
	JWTOnly bool
	// AllowSystemNames takes usernames that start with "system:".
	AllowSystemNames bool
	// Tolerant makes a warning of what is wrong in a spec and yet works, such
	// as a user's ARN under mapRoles: what the server does with a table that
	// is in use.
	Tolerant bool
}

// Problem is something wrong in a table that somebody wants to put to use.
type Problem struct {
	// Section is MapRoles, MapUsers or MapAccounts; empty is the whole table.
	Section string
	// Index is the place in Mappings' list, from 0; -1 is the whole section.
	Index int
	// Field is "arn", "sso.accountID", "sso.permissionSetName",
	// "sso.partition", "username", "groups[N]", or empty for the entry.
	Field string
	// Message says what is wrong and what to do.
	Message string
	// Warning is set if the table can be used all the same.
	Warning bool
}

// String returns the problem on one line: "mapRoles[1].username: ...".
func (p Problem) String() string {
	if p.Section == "" {
		return p.Message
	}
	return place(p.Section, p.Index, p.Field) + ": " + p.Message
}

// Check tells what is wrong with a table that somebody wants to put to use:
// entries that make no sense, that could never match, that name one principal
// twice, or that do not fit into a ConfigMap. It is at its strictest for a spec,
// and with Tolerant the same code says what a server does with a live table.
func Check(m Mappings, opts CheckOptions) []Problem {
	c := checker{opts: opts}
	var problems []Problem
	seen := make(map[string]string)
	section := func(name string, entries []Entry) {
		for i, e := range entries {
			_, faults := c.entry(name, e)
			for _, f := range faults {
				problems = append(problems, Problem{
					Section: name, Index: i, Field: f.field, Message: f.message, Warning: opts.warns(f.level),
				})
			}
			id, ok := identity(e, opts.Partition)
			if !ok {
				continue
			}
			if first, again := seen[id]; again {
				problems = append(problems, Problem{
					Section: name, Index: i, Field: arnField(e), Warning: opts.Tolerant,
					Message: fmt.Sprintf("%s is named by %s already; role paths, sessions and capital letters make no difference", describe(e), first),
				})
				continue
			}
			seen[id] = fmt.Sprintf("%s (%s)", place(name, i, ""), describe(e))
		}
	}
	section(MapRoles, m.Roles)
	section(MapUsers, m.Users)
	problems = append(problems, checkAccounts(m.Accounts, opts)...)
	if size := Size(Encode(m)); size > MaxConfigMapBytes {
		problems = append(problems, Problem{
			Index:   -1,
			Message: fmt.Sprintf("the mappings take %d bytes in the ConfigMap aws-auth, which holds %d; map roles instead of single users, or use mapAccounts or another backend", size, MaxConfigMapBytes),
			Warning: opts.Tolerant,
		})
	}
	return problems
}

// warns tells whether a fault leaves the table usable.
func (o CheckOptions) warns(l level) bool {
	return l == doubt || l == specOnly && o.Tolerant
}

func checkAccounts(accounts []string, opts CheckOptions) []Problem {
	var problems []Problem
	seen := make(map[string]int)
	for i, account := range accounts {
		if !iam.IsAccountID(account) {
			problems = append(problems, Problem{
				Section: MapAccounts, Index: i,
				Message: fmt.Sprintf("%q is not an account's twelve digits (quote it, or YAML may take its leading zeros off)", clip(account)),
			})
			continue
		}
		if first, again := seen[account]; again {
			problems = append(problems, Problem{
				Section: MapAccounts, Index: i, Warning: opts.Tolerant,
				Message: fmt.Sprintf("%s is listed already at %s", account, place(MapAccounts, first, "")),
			})
			continue
		}
		seen[account] = i
	}
	return problems
}
