package spec

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// maxIssues bounds what is said about a spec, and maxDocuments what is read of
// one file: a spec has a handful of objects.
const (
	maxIssues    = 500
	maxDocuments = 200
)

// object is one document of a file. Those of capiam's group are decoded.
type object struct {
	// file is what issues call the file it stands in.
	file                  string
	kind, name, namespace string
	// foreign tells that it is of another group than capiam's; group is that
	// of a foreign Cluster, which would be taken for capiam's without.
	foreign bool
	group   string
	line    int
	root    *value
	typed   any
	// damaged holds the paths whose values are not what the file says,
	// because they could not be decoded.
	damaged map[string]bool
	// duplicate tells that an object of that kind and name came before.
	duplicate bool
}

// label returns what an issue calls the object.
func (o *object) label() string {
	kind := o.kind
	if o.group != "" {
		kind += "." + o.group
	}
	if o.name == "" || kind == "" {
		return kind
	}
	return kind + "/" + clip(o.name)
}

// parser collects what a file holds and what is wrong with it.
type parser struct {
	// file is the one that is being read: the spec or, while config is set,
	// one that this config names.
	file   string
	config *object
	// files are the names of all that were read, in their order.
	files []string
	// readFile reads one that a config names; nil if there is no way to.
	readFile ReadFile

	issues  []Issue
	warns   []Issue
	dropped int
	// objects are those of capiam's group, and foreign those of others.
	objects []*object
	foreign []*foreign
	// unread tells that some document could not be made out, so that an
	// object that seems to be missing may be there.
	unread bool
	// refused holds the kinds of objects that were refused for their kind.
	refused map[string]bool
	aliased int
}

// ReadFile returns what a file holds; os.ReadFile is one.
type ReadFile func(path string) ([]byte, error)

// Parse reads a spec that is already in memory. The name stands for the file in
// issues. The error, if any, is an Errors with every problem of the spec. A spec
// that names further files is refused; ParseFiles reads them.
func Parse(name string, data []byte) (*Spec, error) {
	return ParseFiles(name, data, nil)
}

// ParseFiles is Parse for a spec that may name further files, which are read by
// readFile. Their paths are joined to the directory of name, or to the working
// directory if name is StdinName.
func ParseFiles(name string, data []byte, readFile ReadFile) (*Spec, error) {
	p := &parser{file: name, files: []string{name}, readFile: readFile, refused: make(map[string]bool)}
	spec := p.parse(data)
	if len(p.issues) > 0 {
		issues := sortIssues(p.issues, p.files)
		if p.dropped > 0 {
			issues = append(issues, Issue{File: name, Message: fmt.Sprintf("and %d more problems", p.dropped)})
		}
		return nil, Errors(issues)
	}
	spec.File = name
	spec.Raw = bytes.Clone(data)
	spec.Warnings = sortIssues(p.warns, p.files)
	return spec, nil
}

func (p *parser) parse(data []byte) *Spec {
	if !p.documents(data) {
		return nil
	}
	if len(p.objects)+len(p.foreign) == 0 && !p.unread && len(p.issues) == 0 {
		p.report(0, "", "", fmt.Sprintf("holds no objects: a spec needs a %s, an %s and a datacenter config", v1alpha1.ClusterKind, v1alpha1.AWSIamConfigKind))
		return nil
	}
	return p.assemble()
}

// documents reads the documents of a file. It reports false if the file as a
// whole makes no sense.
func (p *parser) documents(data []byte) bool {
	if line, message := checkText(data); message != "" {
		p.report(line, "", "", message)
		return false
	}
	chunks := split(data)
	if len(chunks) > maxDocuments {
		p.report(chunks[maxDocuments].line, "", "", fmt.Sprintf("more than %d documents: this is no cluster spec", maxDocuments))
		return false
	}
	for _, c := range chunks {
		p.document(c)
	}
	return true
}

// report adds a problem of the file that is being read, which refuses it.
func (p *parser) report(line int, object, field, message string) {
	p.reportIn(p.file, line, object, field, message)
}

func (p *parser) reportIn(file string, line int, object, field, message string) {
	if len(p.issues) >= maxIssues {
		p.dropped++
		return
	}
	p.issues = append(p.issues, newIssue(file, line, object, field, message))
}

func (p *parser) warn(line int, object, field, message string) {
	p.warnIn(p.file, line, object, field, message)
}

func (p *parser) warnIn(file string, line int, object, field, message string) {
	if len(p.warns) < maxIssues {
		p.warns = append(p.warns, newIssue(file, line, object, field, message))
	}
}

func newIssue(file string, line int, object, field, message string) Issue {
	const most = 160 // a path deeper than this helps nobody
	if len(field) > most {
		field = strings.ToValidUTF8(field[:most], "") + "..."
	}
	return Issue{File: file, Line: line, Object: printable(object), Field: printable(field), Message: printable(message)}
}

// printable escapes what would break an issue's one line, or reach the terminal
// as a command: YAML lets names and values hold any character.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// document reads one document into an object.
func (p *parser) document(c chunk) {
	node, syntax := parseNode(c)
	if syntax != nil {
		p.unread = true
		p.report(syntax.line, "", "", syntax.message)
		return
	}
	if node == nil {
		return
	}
	// The object's name is known only when the document is built, so what is
	// found until then waits for it.
	type finding struct {
		line          int
		path, message string
	}
	var found []finding
	b := &builder{
		offset:  c.line - 1,
		aliased: &p.aliased,
		active:  make(map[*yaml.Node]bool),
		report:  func(line int, path, message string) { found = append(found, finding{line, path, message}) },
	}
	root := b.build(node, "")
	o := &object{
		file:      p.file,
		kind:      root.get("kind").text(),
		name:      root.get("metadata").get("name").text(),
		namespace: root.get("metadata").get("namespace").text(),
		line:      root.line,
		root:      root,
		damaged:   make(map[string]bool),
	}
	other := asForeign(o, c)
	report := func(line int, path, message string) {
		o.damaged[path] = true
		p.report(line, clip(o.label()), path, message)
	}
	for _, f := range found {
		report(f.line, f.path, f.message)
	}
	switch {
	case root.kind == nullValue && len(found) == 0:
		return
	case root.kind != objectValue:
		p.unread = true
		if len(found) == 0 {
			report(root.line, "", fmt.Sprintf("want an object with apiVersion, kind, metadata and spec, this is %s", root.kind))
		}
		return
	}
	if other != nil {
		if other.apiVersion == "" {
			p.refused[o.kind] = true
		}
		p.foreign = append(p.foreign, other)
		return
	}
	if !p.identify(o, report) {
		return
	}
	d := &decoder{
		kind:   o.kind,
		report: report,
		warn:   func(line int, path, message string) { p.warn(line, o.label(), path, message) },
		damage: func(path string) { o.damaged[path] = true },
	}
	d.decode(root, reflect.ValueOf(o.typed).Elem(), "")
	p.objects = append(p.objects, o)
}

// identify checks what kind of object a document holds, and gives it a typed
// object to be decoded into. It reports false if there is nothing to decode.
func (p *parser) identify(o *object, report func(line int, path, message string)) bool {
	kind := o.root.get("kind")
	if kind == nil || kind.kind == nullValue || kind.kind == scalarValue && o.kind == "" {
		p.unread = true
		report(o.root.line, "kind", "required: every object has a kind")
		return false
	}
	if kind.kind != scalarValue {
		p.unread = true
		report(kind.line, "kind", fmt.Sprintf("want a string, this is %s", kind.kind))
		return false
	}
	version := o.root.get("apiVersion")
	wrongVersion := ""
	if version == nil || version.kind != objectValue && version.kind != listValue {
		wrongVersion = checkAPIVersion(o.kind, version.text())
	}
	message, near := checkKind(o.kind)
	if message != "" {
		p.unread = p.unread || near
		p.refused[o.kind] = true
		report(o.root.locate("kind"), "kind", message)
		return false
	}
	if p.config != nil {
		report(o.root.locate("kind"), "kind", fmt.Sprintf("%s's files hold the objects of other APIs: move this %s into the spec itself", p.config.label(), o.kind))
		return false
	}
	if wrongVersion != "" {
		report(o.root.locate("apiVersion"), "apiVersion", wrongVersion)
		// There are Clusters in other groups than these two as well.
		if group, _, found := strings.Cut(version.text(), "/"); o.kind == v1alpha1.ClusterKind && found && !isNear(group, v1alpha1.Group) && !hasCapiamFields(o) {
			return false
		}
	}
	switch o.kind {
	case v1alpha1.ClusterKind:
		o.typed = &v1alpha1.Cluster{}
	case v1alpha1.AWSIamConfigKind:
		o.typed = &v1alpha1.AWSIamConfig{}
	case v1alpha1.LocalDatacenterConfigKind:
		o.typed = &v1alpha1.LocalDatacenterConfig{}
	case v1alpha1.DockerDatacenterConfigKind:
		o.typed = &v1alpha1.DockerDatacenterConfig{}
	case v1alpha1.ClusterAPIDatacenterConfigKind:
		o.typed = &v1alpha1.ClusterAPIDatacenterConfig{}
	}
	return true
}
