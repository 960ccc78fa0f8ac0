package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// assemble puts the objects together: one Cluster, what it refers to, the
// objects of other groups that go with that, and nothing else. It returns a Spec that is worth something only if no problem
// was reported.
func (p *parser) assemble() *Spec {
	p.checkDuplicates()
	var cluster *object
	clusters := 0
	for _, o := range p.objects {
		if o.kind != v1alpha1.ClusterKind {
			continue
		}
		clusters++
		if cluster == nil {
			cluster = o
		} else if o.name != cluster.name { // equal names are reported as duplicates
			p.report(o.line, o.label(), "", fmt.Sprintf("a spec describes one Cluster, and %s is on line %d: move this one to a file of its own", cluster.label(), cluster.line))
		}
	}
	if cluster == nil {
		if !p.unread {
			p.report(0, "", "", p.noCluster())
		}
		for _, f := range p.foreign {
			p.refuseList(f)
		}
		// The rules for single objects still say something useful.
		cluster = &object{typed: &v1alpha1.Cluster{}, root: &value{}}
		p.validateAll(cluster)
		return nil
	}
	p.checkNames()
	c := cluster.typed.(*v1alpha1.Cluster)
	spec := &Spec{Cluster: c}
	used := p.resolve(spec, cluster)
	if clusters == 1 { // the other Cluster may be what refers to the rest
		p.checkUnused(cluster, used)
	}
	p.checkNamespaces(cluster)
	p.assembleObjects(spec, cluster, p.datacenter(cluster))
	p.validateAll(cluster)
	spec.Name, spec.Namespace = c.Name, c.Namespace
	return spec
}

// noCluster is said of a spec without a Cluster.
func (p *parser) noCluster() string {
	for _, f := range p.foreign {
		if f.kind == v1alpha1.ClusterKind {
			return fmt.Sprintf("holds no Cluster of capiam's: add one (that on line %d is Cluster API's), with a %s", f.line, v1alpha1.ClusterAPIDatacenterConfigKind)
		}
	}
	return "holds no Cluster: add one"
}

// datacenter returns the kind of datacenter the Cluster is meant to be in: where
// its reference is broken, a datacenter config in the file still tells.
func (p *parser) datacenter(cluster *object) string {
	kind := cluster.typed.(*v1alpha1.Cluster).Spec.DatacenterRef.Kind
	if kind != "" && !cluster.refersBadly(kind) {
		return kind
	}
	var there []string
	for _, o := range p.objects {
		if slices.Contains(datacenterKinds, o.kind) {
			there = append(there, o.kind)
		}
	}
	if len(there) == 0 || slices.Contains(there, kind) {
		return kind
	}
	return there[0]
}

// checkDuplicates finds two objects of one kind and name.
func (p *parser) checkDuplicates() {
	seen := make(map[string]*object)
	for _, o := range p.objects {
		key := o.kind + "/" + o.name
		if first, dup := seen[key]; dup {
			o.duplicate = true
			p.report(o.line, o.label(), "", fmt.Sprintf("written twice, first on line %d: a reference to it could mean either; remove one", first.line))
			continue
		}
		seen[key] = o
	}
}

// checkNames finds namespaces no object can have; names are the validation's.
func (p *parser) checkNames() {
	for _, o := range p.objects {
		if o.kind == v1alpha1.ClusterKind {
			continue
		}
		if message := v1alpha1.CheckNamespace(o.namespace); message != "" && !o.isDamaged("metadata.namespace") {
			p.report(o.root.locate("metadata.namespace"), o.label(), "metadata.namespace", message)
			o.damaged["metadata.namespace"] = true
		}
	}
}

// checkNamespaces holds every object's namespace against the Cluster's.
func (p *parser) checkNamespaces(cluster *object) {
	if v1alpha1.CheckNamespace(cluster.namespace) != "" || cluster.isDamaged("metadata.namespace") {
		return // what the others should be is not known
	}
	want := orDefault(cluster.namespace)
	for _, o := range p.objects {
		if o == cluster || o.kind == v1alpha1.ClusterKind || o.isDamaged("metadata.namespace") {
			continue
		}
		if got := orDefault(o.namespace); got != want {
			p.report(o.root.locate("metadata.namespace"), o.label(), "metadata.namespace",
				fmt.Sprintf("is %q, and that of %s is %q: they must be the same (\"default\" if left out)", clip(got), cluster.label(), clip(want)))
		}
	}
}

func orDefault(namespace string) string {
	if namespace == "" {
		return v1alpha1.DefaultNamespace
	}
	return namespace
}

// resolve follows the Cluster's references. It returns the objects they lead
// to.
func (p *parser) resolve(spec *Spec, cluster *object) map[*object]bool {
	s := &spec.Cluster.Spec
	used := make(map[*object]bool)
	follow := func(field string, ref v1alpha1.Ref, kinds ...string) *object {
		o := p.follow(cluster, field, ref, kinds)
		if o != nil {
			used[o] = true
		}
		return o
	}
	if o := follow("spec.datacenterRef", s.DatacenterRef, datacenterKinds...); o != nil {
		switch typed := o.typed.(type) {
		case *v1alpha1.LocalDatacenterConfig:
			spec.Local = typed
		case *v1alpha1.DockerDatacenterConfig:
			spec.Docker = typed
		case *v1alpha1.ClusterAPIDatacenterConfig:
			spec.ClusterAPI = typed
		}
	}
	first := -1
	for i, ref := range s.IdentityProviderRefs {
		field := fmt.Sprintf("spec.identityProviderRefs[%d]", i)
		if ref.Kind == v1alpha1.AWSIamConfigKind {
			if first >= 0 {
				p.report(cluster.root.locate(field), cluster.label(), field,
					fmt.Sprintf("a cluster has one %s, and spec.identityProviderRefs[%d] names one already: merge the two", v1alpha1.AWSIamConfigKind, first))
				for _, o := range p.objects {
					used[o] = used[o] || o.kind == ref.Kind && o.name == ref.Name
				}
				continue
			}
			first = i
		}
		if o := follow(field, ref, v1alpha1.AWSIamConfigKind); o != nil {
			spec.IAM, _ = o.typed.(*v1alpha1.AWSIamConfig)
		}
	}
	if len(s.IdentityProviderRefs) == 0 && !mayLackIAM(p.datacenter(cluster)) && !cluster.isDamaged("spec.identityProviderRefs") {
		p.report(cluster.root.locate("spec"), cluster.label(), "spec.identityProviderRefs",
			fmt.Sprintf("required: name the %s that says who may log in", v1alpha1.AWSIamConfigKind))
		for _, o := range p.objects {
			used[o] = used[o] || o.kind == v1alpha1.AWSIamConfigKind
		}
	}
	if s.GitOpsRef != nil {
		follow("spec.gitOpsRef", *s.GitOpsRef)
	}
	return used
}

// mayLackIAM tells whether a cluster in that kind of datacenter may name no
// identity provider: one that others log in to by other means too.
func mayLackIAM(datacenter string) bool {
	return datacenter == v1alpha1.ClusterAPIDatacenterConfigKind || datacenter == v1alpha1.DockerDatacenterConfigKind
}

// checkUnused reports objects that no reference leads to: mappings in one would
// look as if they counted.
func (p *parser) checkUnused(cluster *object, used map[*object]bool) {
	for _, o := range p.objects {
		if o.kind != v1alpha1.ClusterKind && !o.duplicate && !used[o] && !cluster.refersBadly(o.kind) {
			p.report(o.line, o.label(), "", fmt.Sprintf("nothing refers to it: name it in the Cluster's %s, or remove it", refField(o.kind)))
		}
	}
}

// refersBadly tells whether a reference of the Cluster to that kind is broken:
// an object no reference leads to is then the other half of one mistake.
func (o *object) refersBadly(kind string) bool {
	field := refField(kind)
	for path := range o.damaged {
		if path == "spec" || path == field || strings.HasPrefix(path, field+".") || strings.HasPrefix(path, field+"[") {
			return true
		}
	}
	return false
}

// refField returns the field of the Cluster that names objects of a kind.
func refField(kind string) string {
	switch kind {
	case v1alpha1.AWSIamConfigKind:
		return "spec.identityProviderRefs"
	case v1alpha1.FluxConfigKind:
		return "spec.gitOpsRef"
	default:
		return "spec.datacenterRef"
	}
}

// follow returns the object a reference names, or reports why there is none.
func (p *parser) follow(cluster *object, field string, ref v1alpha1.Ref, kinds []string) *object {
	fail := func(sub, format string, args ...any) *object {
		path := field + sub
		if !cluster.isDamaged(path) {
			p.report(cluster.root.locate(path), cluster.label(), path, fmt.Sprintf(format, args...))
		}
		cluster.damaged[path] = true
		return nil
	}
	if p.refused[ref.Kind] {
		cluster.damaged[field] = true
		return nil // said where the object stands
	}
	want := strings.Join(kinds, ", ")
	switch {
	case ref == v1alpha1.Ref{}:
		return fail("", "required: the kind (%s) and name of an object in this file", want)
	case ref.Kind == "":
		return fail(".kind", "required (%s)", want)
	}
	if len(kinds) == 0 {
		return fail(".kind", "capiam cannot use %s yet: remove the reference", clip(ref.Kind))
	}
	if !slices.Contains(kinds, ref.Kind) {
		if message, _ := checkKind(ref.Kind); message != "" {
			return fail(".kind", "%s; want %s here", message, want)
		}
		return fail(".kind", "%s cannot stand here: want %s", ref.Kind, want)
	}
	if ref.Name == "" {
		return fail(".name", "required: the name of the %s", ref.Kind)
	}
	var names []string
	for _, o := range p.objects {
		if o.kind != ref.Kind {
			continue
		}
		if o.name == ref.Name {
			return o
		}
		names = append(names, o.label())
	}
	if p.unread {
		cluster.damaged[field] = true
		return nil // it may be in the document that cannot be read
	}
	if len(names) > 0 {
		return fail(".name", "there is no %s/%s in this file (it has %s)", ref.Kind, clip(ref.Name), strings.Join(names, ", "))
	}
	return fail(".name", "there is no %s/%s in this file: add it", ref.Kind, clip(ref.Name))
}
