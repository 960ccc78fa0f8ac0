package spec

import (
	"fmt"
	"path/filepath"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// readFiles reads the documents of the files that a ClusterAPIDatacenterConfig
// names.
func (p *parser) readFiles(config *object) {
	typed := config.typed.(*v1alpha1.ClusterAPIDatacenterConfig)
	spec := p.file
	defer func() { p.file, p.config = spec, nil }()
	dir := "."
	if spec != StdinName {
		dir = filepath.Dir(spec)
	}
	read := make(map[string]bool)
	for i, file := range typed.Spec.Files {
		field := fmt.Sprintf("spec.files[%d]", i)
		if v1alpha1.CheckFile(file) != "" || config.isDamaged(field) || len(read) >= v1alpha1.MaxFiles {
			continue // the object's own rules say it
		}
		name := filepath.Join(dir, filepath.FromSlash(file))
		if read[name] {
			continue // likewise
		}
		read[name] = true
		fail := func(message string) {
			p.unread = true
			p.reportIn(spec, config.root.locate(field), config.label(), field, message)
		}
		if name == filepath.Clean(spec) {
			fail("is the spec file itself, whose objects are read anyway: remove it")
			continue
		}
		if p.readFile == nil {
			fail("further files cannot be read here: put the objects into the spec itself")
			continue
		}
		data, err := p.readFile(name)
		if err != nil {
			fail(fmt.Sprintf("cannot read it: %v", err))
			continue
		}
		p.file, p.config = name, config
		p.files = append(p.files, name)
		before, issues := len(p.foreign), len(p.issues)+p.dropped
		p.documents(data)
		if len(p.foreign) == before && len(p.issues)+p.dropped == issues {
			fail(fmt.Sprintf("%s holds no objects: remove it from the list, or fill it", name))
		}
	}
}
