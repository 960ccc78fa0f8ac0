package spec

import (
	"cmp"
	"fmt"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"regexp"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// clusterAPIGroup is the API group of Cluster API's Cluster; its other groups
// end in it.
const clusterAPIGroup = "cluster.x-k8s.io"

// kubernetesAPIVersion is what every apiVersion looks like: group/version, or
// the version alone for the core group.
var kubernetesAPIVersion = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[a-z0-9]+$`)

// foreign is a document with an object of another group than capiam's. Whether
// the spec may hold such objects is known only when its datacenter is.
type foreign struct {
	*object
	apiVersion, group string
	chunk             chunk
}

// asForeign returns the document as an object of another group, or nil if it is
// one of capiam's or was meant to be: a slip in the group must not turn an
// AWSIamConfig into an object that nobody reads.
func asForeign(o *object, c chunk) *foreign {
	version := o.root.get("apiVersion").text()
	group, _, found := strings.Cut(version, "/")
	if !found {
		group = ""
	}
	switch {
	case o.kind == "":
		return nil
	case version == "":
		// Without a version, a kind that is known or nearly so tells more.
		if message, near := checkKind(o.kind); near || message == "" || slices.Contains(knownKinds, o.kind) || o.root.get("apiVersion") != nil {
			return nil
		}
	case o.kind == v1alpha1.ClusterKind && group == clusterAPIGroup && !hasCapiamFields(o):
	case isKind(o.kind), isNear(group, v1alpha1.Group):
		return nil
	}
	o.foreign = true
	if o.kind == v1alpha1.ClusterKind {
		o.group = group
	}
	return &foreign{object: o, apiVersion: version, group: group, chunk: c}
}

// hasCapiamFields tells whether a Cluster has fields that capiam's has and
// Cluster API's lacks.
func hasCapiamFields(o *object) bool {
	s := o.root.get("spec")
	return s.get("datacenterRef") != nil || s.get("identityProviderRefs") != nil
}

// isKind tells whether a kind is one of capiam's group, letter case aside.
func isKind(kind string) bool {
	same := func(k string) bool { return strings.EqualFold(k, kind) }
	return slices.ContainsFunc(builtKinds, same) || slices.ContainsFunc(knownKinds, same)
}

// isNear tells whether a name is another, or looks like it with a mistake.
func isNear(name, other string) bool {
	near, _ := nearest(name, []string{other})
	return near != "" && len(name) >= len(other)-3
}

// isClusterAPI tells whether a group is one of Cluster API's.
func isClusterAPI(group string) bool {
	return group == clusterAPIGroup || strings.HasSuffix(group, "."+clusterAPIGroup)
}

// assembleObjects takes in the objects of other groups: those of the file, and
// those of the files that the config names. Where the datacenter has no use for
// them, each is an error.
func (p *parser) assembleObjects(spec *Spec, cluster *object, datacenter string) {
	if datacenter != v1alpha1.ClusterAPIDatacenterConfigKind {
		if p.unread && !slices.Contains(datacenterKinds, datacenter) {
			return // what they go with may be in the document that cannot be read
		}
		for _, f := range p.foreign {
			p.refuseForeign(f, datacenter)
		}
		return
	}
	i := slices.IndexFunc(p.objects, func(o *object) bool { return o.kind == v1alpha1.ClusterAPIDatacenterConfigKind })
	if i >= 0 {
		p.readFiles(p.objects[i])
	}
	for _, f := range p.foreign {
		p.checkForeign(f)
	}
	if i >= 0 && spec.ClusterAPI != nil {
		p.findCluster(spec, p.objects[i], cluster)
	}
	p.checkForeignDuplicates(spec)
	for _, f := range p.foreign {
		text, line := documentText(f.chunk)
		spec.Objects = append(spec.Objects, Object{
			File: f.file, Line: line, Text: text,
			APIVersion: f.apiVersion, Kind: f.kind, Namespace: f.namespace, Name: f.name,
		})
	}
}

// refuseForeign says why an object of another group cannot stand in a spec for
// that kind of datacenter, and what to do with it.
func (p *parser) refuseForeign(f *foreign, datacenter string) {
	if p.refuseList(f) {
		return
	}
	if f.apiVersion == "" {
		message, _ := checkKind(f.kind)
		p.report(f.root.locate("kind"), f.label(), "kind", message)
		return
	}
	apiVersion := clip(f.apiVersion)
	refer := "refer to a " + v1alpha1.ClusterAPIDatacenterConfigKind
	var message string
	switch {
	case datacenter == v1alpha1.LocalDatacenterConfigKind && isClusterAPI(f.group):
		message = fmt.Sprintf("%s is Cluster API's, and a local cluster is not made of its objects: remove this one, or %s", apiVersion, refer)
	case datacenter == v1alpha1.DockerDatacenterConfigKind && isClusterAPI(f.group):
		message = fmt.Sprintf("%s is Cluster API's, and with a %s capiam makes its objects: remove this one, or %s to bring your own", apiVersion, datacenter, refer)
	case datacenter == v1alpha1.LocalDatacenterConfigKind || datacenter == v1alpha1.DockerDatacenterConfigKind:
		message = fmt.Sprintf("%s is none of capiam's: apply this object with kubectl when the cluster is there, or %s if it is one of Cluster API's", apiVersion, refer)
	case isClusterAPI(f.group):
		message = fmt.Sprintf("%s is Cluster API's: its objects go with a %s", apiVersion, v1alpha1.ClusterAPIDatacenterConfigKind)
	default:
		message = fmt.Sprintf("%s is none of capiam's: other objects than %s go with a %s", apiVersion, v1alpha1.APIVersion, v1alpha1.ClusterAPIDatacenterConfigKind)
	}
	p.report(f.root.locate("apiVersion"), f.label(), "apiVersion", message)
}

// checkForeign finds what no management cluster would take, or what the user
// did not mean.
func (p *parser) checkForeign(f *foreign) {
	fail := func(path, format string, args ...any) {
		if !f.isDamaged(path) {
			p.reportIn(f.file, f.root.locate(path), f.label(), path, fmt.Sprintf(format, args...))
		}
		f.damaged[path] = true
	}
	p.checkVariables(f)
	switch {
	case f.apiVersion == "":
		fail("apiVersion", "required: the group and version of the API that has the kind %s", clip(f.kind))
	case !hasVariable(f.apiVersion) && !kubernetesAPIVersion.MatchString(f.apiVersion):
		fail("apiVersion", "%q: want a group and version such as %q", clip(f.apiVersion), clusterAPIGroup+"/v1beta2")
	}
	if message := checkDirectives(f.chunk); message != "" {
		fail("", "%s", message)
	}
	if !p.refuseList(f) {
		p.checkForeignName(f, fail)
	}
}

// refuseList reports a list of objects, which has no name and no comments of its
// items' own, and tells whether the object is one.
func (p *parser) refuseList(f *foreign) bool {
	if f.kind != "List" && (!strings.HasSuffix(f.kind, "List") || f.root.get("items") == nil) {
		return false
	}
	p.reportIn(f.file, f.root.locate("kind"), f.label(), "kind", "a list of objects: write each of its items as a document of its own, parted by lines \"---\"")
	return true
}

func (p *parser) checkForeignName(f *foreign, fail func(path, format string, args ...any)) {
	meta := f.root.get("metadata")
	if meta != nil && meta.kind != objectValue && meta.kind != nullValue {
		fail("metadata", "%s", templateHint(meta.node, fmt.Sprintf("want an object, this is %s", meta.kind)))
		return
	}
	ok := true
	for _, field := range []string{"name", "namespace"} {
		v := meta.get(field)
		switch {
		case v == nil || v.kind == nullValue:
			continue
		case v.kind != scalarValue:
			fail("metadata."+field, "%s", templateHint(v.node, fmt.Sprintf("want a string, this is %s", v.kind)))
			ok = false
		default:
			if problem := notString(v.node); problem != "" {
				fail("metadata."+field, "%s", problem)
				ok = false
			}
		}
	}
	if !ok {
		return
	}
	switch generated := meta.get("generateName").text(); {
	case f.name == "" && generated != "":
		fail("metadata.name", "required: with metadata.generateName, each run would make another object")
	case f.name == "":
		fail("metadata.name", "required")
	case !hasVariable(f.name) && len(content.IsPathSegmentName(f.name)) > 0:
		fail("metadata.name", "%q: no object can have that name", clip(f.name))
	}
	if !hasVariable(f.namespace) {
		if message := v1alpha1.CheckNamespace(f.namespace); message != "" {
			fail("metadata.namespace", "%s", message)
		}
	}
}

// findCluster finds Cluster API's Cluster among the objects, if it is there,
// and takes its namespace for the config's where that has none.
func (p *parser) findCluster(spec *Spec, config, cluster *object) {
	var clusters []*foreign
	for _, f := range p.foreign {
		if f.kind == v1alpha1.ClusterKind {
			if f.isDamaged("metadata.name") || f.isDamaged("metadata.namespace") || hasVariable(f.name) || hasVariable(f.namespace) {
				return // which cluster it is cannot be told
			}
			clusters = append(clusters, f)
		}
	}
	if len(clusters) == 0 || config.isDamaged("spec.clusterName") || config.isDamaged("spec.namespace") || cluster.isDamaged("metadata.name") {
		return
	}
	s := &spec.ClusterAPI.Spec
	name := cmp.Or(s.ClusterName, spec.Cluster.Name)
	same := func(f *foreign) bool { return f.name == name }
	i := slices.IndexFunc(clusters, func(f *foreign) bool { return same(f) && f.namespace == s.Namespace })
	if i < 0 {
		i = slices.IndexFunc(clusters, same)
	}
	if i < 0 {
		if name != "" && !p.unread {
			p.report(config.root.locate("spec.clusterName"), config.label(), "spec.clusterName",
				fmt.Sprintf("there is no Cluster %q of Cluster API's among the objects, and %s is on %s: write its name here", clip(name), clusters[0].label(), p.place(clusters[0].object, config.file)))
		}
		return
	}
	found := clusters[i]
	home := cmp.Or(s.Namespace, found.namespace, spec.Cluster.Namespace)
	for _, other := range clusters {
		// One that is the same to an API server is a duplicate.
		if other.name != found.name || cmp.Or(other.namespace, home) != cmp.Or(found.namespace, home) {
			p.reportIn(other.file, other.line, other.label(), "",
				fmt.Sprintf("a spec describes one cluster, and %s is on %s: move this one to a spec of its own", found.label(), p.place(found.object, other.file)))
		}
	}
	switch {
	case s.Namespace == "":
		s.Namespace = found.namespace
	case found.namespace != "" && found.namespace != s.Namespace:
		p.report(config.root.locate("spec.namespace"), config.label(), "spec.namespace",
			fmt.Sprintf("is %q, and that of %s on %s is %q: change one, or leave this one out", clip(s.Namespace), found.label(), p.place(found.object, config.file), clip(found.namespace)))
	}
}

// checkForeignDuplicates finds two objects that are the same to an API server.
func (p *parser) checkForeignDuplicates(spec *Spec) {
	home := orDefault(spec.Cluster.Namespace)
	if spec.ClusterAPI != nil && spec.ClusterAPI.Spec.Namespace != "" {
		home = spec.ClusterAPI.Spec.Namespace
	}
	seen := make(map[[4]string]*foreign)
	for _, f := range p.foreign {
		if f.name == "" || f.isDamaged("metadata.name") || f.isDamaged("metadata.namespace") {
			continue
		}
		key := [4]string{f.group, f.kind, cmp.Or(f.namespace, home), f.name}
		if first, dup := seen[key]; dup {
			p.reportIn(f.file, f.line, f.label(), "", fmt.Sprintf("written twice, first on %s: remove one", p.place(first.object, f.file)))
			continue
		}
		seen[key] = f
	}
}

// place says where an object is: the line, and the file too if it is another
// than the one that is spoken of.
func (p *parser) place(o *object, file string) string {
	if o.file == file {
		return fmt.Sprintf("line %d", o.line)
	}
	return fmt.Sprintf("line %d of %s", o.line, o.file)
}
