package mapping

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

// Check tells what is wrong with a table.
func Check(m Mappings, opts CheckOptions) []Problem { return nil }
