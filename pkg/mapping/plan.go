package mapping

// Item is an entry, or an account, in a plan.
type Item struct {
	// Section is MapRoles, MapUsers or MapAccounts.
	Section string
	// Entry is empty for an account.
	Entry Entry
	// Account is set for MapAccounts.
	Account string
	// Damaged says that the entry cannot be honoured as it stands.
	Damaged bool
}

// Change is an entry that gets another content.
type Change struct {
	// Section is where the entry will be.
	Section       string
	Before, After Entry
	// TakenOver says that somebody else wrote the entry. From now on it is
	// capiam's.
	TakenOver bool
}

// Plan is what has to happen to an aws-auth ConfigMap so that it holds what a
// spec wants.
type Plan struct {
	Added   []Item
	Removed []Item
	Changed []Change
	// Unchanged entries are as the spec wants them already.
	Unchanged []Item
	// Foreign entries are other writers'. They stay.
	Foreign []Item
	// Broken lists the keys that would have to change and cannot be read.
	Broken []string

	last, desired Mappings
	live          *AWSAuth
}

// NewPlan compares what capiam applied last, what the spec wants, and what the
// cluster has.
func NewPlan(last, desired Mappings, live *AWSAuth) *Plan {
	return &Plan{last: last, desired: desired, live: live}
}

// Empty tells whether there is nothing to do.
func (p *Plan) Empty() bool {
	return len(p.Added)+len(p.Removed)+len(p.Changed)+len(p.Broken) == 0
}

// Apply returns the ConfigMap's data after the plan.
func (p *Plan) Apply() (map[string]string, error) { return Encode(p.desired), nil }

// After returns the table as it is after the plan.
func (p *Plan) After() Mappings { return p.desired }

// Lines returns the plan for people, one line a change.
func (p *Plan) Lines() []string { return nil }
