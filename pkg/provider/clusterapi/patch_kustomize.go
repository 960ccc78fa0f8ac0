package clusterapi

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/filters/patchstrategicmerge"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// patch is a strategic merge patch as kustomize applies it.
type patch struct {
	target target
	node   *yaml.RNode
	err    error
}

func newPatch(t target) *patch { return &patch{target: t, node: yaml.NewMapRNode(nil)} }

func (p *patch) empty() bool { return len(p.node.Content()) == 0 }

// add appends an element to a list below the KubeadmConfigSpec.
func (p *patch) add(element *yaml.RNode, fields ...string) {
	if p.err == nil {
		_, p.err = p.node.Pipe(
			yaml.LookupCreate(yaml.SequenceNode, slices.Concat(p.target.path, fields)...),
			yaml.Append(element.YNode()))
	}
}

// replaceFile makes a file of an object the one that is given, where it is in
// the list. kustomize puts what a patch names at a list's start in the patch's
// order, so the files before it are named too.
func (p *patch) replaceFile(n, file *yaml.RNode) error {
	list, err := n.Pipe(yaml.Lookup(slices.Concat(p.target.path, []string{"files"})...))
	if err != nil {
		return err
	}
	elements, err := list.Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		// With its comments, which kustomize would drop else.
		at := e.Field("path").Value.Copy()
		if path.Clean(at.YNode().Value) != hostFile {
			stub := mapping()
			stub.YNode().Content = append(stub.YNode().Content, yaml.NewScalarRNode("path").YNode(), at.YNode())
			p.add(stub, "files")
			continue
		}
		file.Field("path").Value.SetYNode(at.YNode())
		// Whatever else the file has would be about the old content.
		err := e.VisitFields(func(f *yaml.MapNode) error {
			if key := f.Key.YNode().Value; file.Field(key) == nil {
				with(file, key, nil)
			}
			return nil
		})
		p.add(file, "files")
		return err
	}
	return nil
}

// setArg sets an argument of the API server.
func (p *patch) setArg(name, value string) {
	if p.target.list {
		p.add(mapping("name", name, "value", value), "clusterConfiguration", "apiServer", "extraArgs")
		return
	}
	p.setField(yaml.NewStringRNode(value), name)
}

// removeFile takes a file away.
func (p *patch) removeFile(path any) { p.add(mapping("path", path, "$patch", "delete"), "files") }

// removeArg takes an argument of the API server away.
func (p *patch) removeArg(name string) {
	if p.target.list {
		p.add(mapping("name", name, "$patch", "delete"), "clusterConfiguration", "apiServer", "extraArgs")
		return
	}
	p.setField(yaml.MakePersistentNullNode("null"), name)
}

func (p *patch) setField(value *yaml.RNode, name string) {
	if p.err == nil {
		_, p.err = p.node.Pipe(
			yaml.LookupCreate(yaml.MappingNode, slices.Concat(p.target.path, []string{"clusterConfiguration", "apiServer", "extraArgs"})...),
			yaml.SetField(name, value))
	}
}

// apply has kustomize apply the patch to an object's YAML.
func (p *patch) apply(n *yaml.RNode) error {
	if p.err != nil {
		return fmt.Errorf("make a patch: %w", p.err)
	}
	if err := addSchema(); err != nil {
		return fmt.Errorf("tell kustomize how Cluster API's lists merge: %w", err)
	}
	// kustomize drops aliases that it comes across.
	if hasAlias(n.YNode()) {
		if err := n.DeAnchor(); err != nil {
			return fmt.Errorf("expand aliases: %w", err)
		}
	}
	restore := keepPlain(n.YNode())
	if _, err := (patchstrategicmerge.Filter{Patch: p.node}).Filter([]*yaml.RNode{n}); err != nil {
		return fmt.Errorf("patch with kustomize: %w", err)
	}
	restore()
	return nil
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// keepPlain keeps two kinds of scalars from kustomize: those that it would put
// in quotes because YAML 1.1 takes them for something else than text, such as
// yes, and so do kubectl and the API server; and nulls of no letters, which it
// would drop. The function it returns makes them what they were.
func keepPlain(n *yaml.Node) (restore func()) {
	const null = "\x00"
	var plain []*yaml.Node
	walkScalars(n, false, func(n *yaml.Node, _ bool) {
		switch {
		case n.Tag == yaml.NodeTagNull && n.Value == "":
			n.Value = null
		case n.Tag == yaml.NodeTagString && n.Style == 0 && yaml.IsYaml1_1NonString(n):
			plain = append(plain, n)
		}
	})
	return func() {
		for _, n := range plain {
			n.Style = 0
		}
		// kustomize has made new nodes of these. In flow style it would write
		// no letters as an empty text.
		walkScalars(n, false, func(n *yaml.Node, flow bool) {
			switch {
			case n.Tag != yaml.NodeTagNull || n.Value != null:
			case flow:
				n.Value = "null"
			default:
				n.Value = ""
			}
		})
	}
}

func walkScalars(n *yaml.Node, flow bool, visit func(n *yaml.Node, flow bool)) {
	if n.Kind == yaml.ScalarNode {
		visit(n, flow)
	}
	for _, c := range n.Content {
		walkScalars(c, flow || n.Style&yaml.FlowStyle != 0, visit)
	}
}

// prune takes away what is empty where the patch put something.
func (t target) prune(n *yaml.RNode) error {
	paths := [][]string{
		{"clusterConfiguration", "apiServer", "extraArgs"},
		{"clusterConfiguration", "apiServer", "extraVolumes"},
		{"clusterConfiguration", "apiServer"},
		{"clusterConfiguration"},
		{"files"},
	}
	if t.bare {
		paths = append(paths, nil)
	}
	for _, fields := range paths {
		if err := clearEmpty(n, slices.Concat(t.path, fields)); err != nil {
			return err
		}
	}
	return nil
}

// clearEmpty removes the field at a path if it has nothing in it.
func clearEmpty(n *yaml.RNode, fields []string) error {
	value, err := n.Pipe(yaml.Lookup(fields...))
	if err != nil {
		return err
	}
	if value == nil || len(value.YNode().Content) > 0 || value.YNode().Kind == yaml.ScalarNode {
		return nil
	}
	last := len(fields) - 1
	return n.PipeE(yaml.Lookup(fields[:last]...), yaml.Clear(fields[last]))
}

// mapping makes a YAML mapping of keys and values in this order.
func mapping(pairs ...any) *yaml.RNode {
	n := yaml.NewMapRNode(nil)
	for i := 0; i+1 < len(pairs); i += 2 {
		with(n, pairs[i].(string), pairs[i+1])
	}
	return n
}

func with(n *yaml.RNode, key string, value any) *yaml.RNode {
	v := &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: fmt.Sprint(value)}
	switch {
	case value == nil:
		v.Tag, v.Value = yaml.NodeTagNull, "null"
	case value == true || value == false:
		v.Tag = yaml.NodeTagBool
	case strings.Contains(v.Value, "\n"):
		v.Style = yaml.LiteralStyle
	case yaml.IsYaml1_1NonString(v):
		v.Style = yaml.DoubleQuotedStyle
	}
	n.YNode().Content = append(n.YNode().Content, yaml.NewScalarRNode(key).YNode(), v)
	return n
}
