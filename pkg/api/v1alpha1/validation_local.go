package v1alpha1

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
	validateGroupBindings(&p, c.Spec.GroupBindings)
	return p
}
