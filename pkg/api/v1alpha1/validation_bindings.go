package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// validateGroupBindings checks the spec.groupBindings of a datacenter config.
func validateGroupBindings(p *problems, bindings []GroupBinding) {
	seen := make(map[GroupBinding]int)
	for i, b := range bindings {
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
}
