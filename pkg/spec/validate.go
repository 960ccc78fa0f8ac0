package spec

import (
	"strings"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// validateAll fills in defaults and holds each object against its own rules.
func (p *parser) validateAll(cluster *object) {
	c := cluster.typed.(*v1alpha1.Cluster)
	// The other objects' rules depend on what cluster was meant.
	meant := *c
	meant.Spec.DatacenterRef.Kind = p.datacenter(cluster)
	meant.SetDefaults()
	for _, o := range p.objects {
		var found []v1alpha1.Problem
		switch typed := o.typed.(type) {
		case *v1alpha1.Cluster:
			typed.SetDefaults()
			if found = typed.Validate(); o == cluster {
				found = meant.Validate()
			}
		case *v1alpha1.AWSIamConfig:
			typed.SetDefaults(&meant)
			found = typed.Validate(&meant)
		case *v1alpha1.LocalDatacenterConfig:
			typed.SetDefaults()
			found = typed.Validate()
		case *v1alpha1.DockerDatacenterConfig:
			typed.SetDefaults()
			found = typed.Validate()
		case *v1alpha1.ClusterAPIDatacenterConfig:
			typed.SetDefaults(&meant)
			found = typed.Validate()
		}
		for _, problem := range found {
			// What could not be decoded has been reported; what the rules
			// say of the hole it left would only confuse.
			if o.isDamaged(problem.Field) {
				continue
			}
			line := o.root.locate(problem.Field)
			if problem.Warning {
				p.warn(line, o.label(), problem.Field, problem.Message)
			} else {
				p.report(line, o.label(), problem.Field, problem.Message)
			}
		}
	}
}

// isDamaged tells whether the value at a path, or one around it, could not be
// decoded.
func (o *object) isDamaged(path string) bool {
	for {
		if o.damaged[path] {
			return true
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return false
		}
		path = path[:i]
	}
}
