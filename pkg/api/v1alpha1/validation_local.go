package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Validate returns what is wrong with the object, defaults filled in.
func (c *LocalDatacenterConfig) Validate() []Problem {
	var p problems
	if message := CheckObjectName(c.Name); message != "" {
		p.errorf("metadata.name", "%s", message)
	}
	switch port := c.Spec.APIServerPort; {
	case port < 0 || port > 65535:
		p.errorf("spec.apiServerPort", "%d: want a port from 1024 to 65535, or 0 for a free one", port)
	case port > 0 && port < 1024:
		p.errorf("spec.apiServerPort", "%d: ports below 1024 need root; want one from 1024 to 65535, or 0 for a free one", port)
	}
	seen := make(map[GroupBinding]int)
	for i, b := range c.Spec.GroupBindings {
		field := fmt.Sprintf("spec.groupBindings[%d]", i)
		if b.Group == "" {
			p.errorf(field+".group", "required")
		}
		switch {
		case b.ClusterRole == "":
			p.errorf(field+".clusterRole", "required")
		case len(content.IsPathSegmentName(b.ClusterRole)) > 0:
			p.errorf(field+".clusterRole", "%q: no ClusterRole can have that name", clip(b.ClusterRole))
		}
		if b.Namespace != "" {
			if message := CheckObjectName(b.Namespace); message != "" {
				p.errorf(field+".namespace", "%s", message)
			}
		}
		if first, dup := seen[b]; dup && b.Group != "" && b.ClusterRole != "" {
			p.errorf(field, "the same as spec.groupBindings[%d]: remove one", first)
		} else {
			seen[b] = i
		}
	}
	return p
}
