// Package tree is how a cluster is described to people and programs: a tree of
// parts, each of which is ready, or not, or neither. Providers and package
// workflow grow it, the command line prints it.
package tree

// Node is a part of a cluster: what it is, how it is, and its own parts.
type Node struct {
	Name string `json:"name"`
	// Ready is nil for something that is neither ready nor not.
	Ready  *bool  `json:"ready,omitempty"`
	Detail string `json:"detail,omitempty"`
	Parts  []Node `json:"parts,omitempty"`
}

// Is is for Node.Ready.
func Is(ready bool) *bool { return &ready }
