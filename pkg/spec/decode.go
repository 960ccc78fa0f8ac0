package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decoder fills a typed object from a value. It accepts exactly what the type
// has: an unknown field, or a value of another type, is a problem and not a
// guess.
type decoder struct {
	kind   string
	report func(line int, path, message string)
	warn   func(line int, path, message string)
	// damage says that a field's value is not what the file says, so that
	// no rule is held against it.
	damage func(path string)
}

// decode fills into from v. Null is the same as not written, as it is to
// Kubernetes; v itself must not be null.
func (d *decoder) decode(v *value, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(v, into.Elem(), path)
	case reflect.Struct:
		d.object(v, into, path)
	case reflect.Slice:
		d.list(v, into, path)
	case reflect.Map:
		d.strings(v, into, path)
	default:
		d.scalar(v, into, path)
	}
}

func (d *decoder) scalar(v *value, into reflect.Value, path string) {
	if v.kind != scalarValue {
		want := "a string"
		switch into.Kind() {
		case reflect.Int:
			want = "a number"
		case reflect.Bool:
			want = "true or false"
		}
		d.report(v.line, path, templateHint(v.node, fmt.Sprintf("want %s, this is %s", want, v.kind)))
		return
	}
	var problem string
	switch into.Kind() {
	case reflect.String:
		if problem = notString(v.node); problem == "" {
			into.SetString(v.node.Value)
		}
	case reflect.Int:
		var i int
		if i, problem = parseInt(v.node); problem == "" {
			into.SetInt(int64(i))
		}
	case reflect.Bool:
		var b bool
		if b, problem = parseBool(v.node); problem == "" {
			into.SetBool(b)
		}
	default:
		problem = fmt.Sprintf("capiam cannot read a %s here", into.Kind())
	}
	if problem != "" {
		d.report(v.line, path, problem)
	}
}

func (d *decoder) list(v *value, into reflect.Value, path string) {
	if v.kind != listValue {
		d.report(v.line, path, fmt.Sprintf("want a list, this is %s", v.kind))
		return
	}
	// A damaged item keeps its place, so that the numbers in later messages
	// are those of the file.
	items := reflect.MakeSlice(into.Type(), len(v.items), len(v.items))
	for i, item := range v.items {
		itemPath := fmt.Sprintf("%s[%d]", path, i)
		if item.kind == nullValue {
			d.report(item.line, itemPath, "an item of the list is empty: fill it in or remove it")
			continue
		}
		d.decode(item, items.Index(i), itemPath)
	}
	into.Set(items)
}

// strings fills a map of strings, such as labels.
func (d *decoder) strings(v *value, into reflect.Value, path string) {
	if v.kind != objectValue {
		d.report(v.line, path, fmt.Sprintf("want an object of strings, this is %s", v.kind))
		return
	}
	m := reflect.MakeMapWithSize(into.Type(), len(v.fields))
	for _, f := range v.fields {
		val := reflect.New(into.Type().Elem()).Elem()
		if f.value.kind != nullValue {
			d.decode(f.value, val, join(path, f.name))
		}
		m.SetMapIndex(reflect.ValueOf(f.name), val)
	}
	into.Set(m)
}

func (d *decoder) object(v *value, into reflect.Value, path string) {
	if v.kind != objectValue {
		d.report(v.line, path, fmt.Sprintf("want an object, this is %s", v.kind))
		return
	}
	fields := fieldsOf(into.Type())
	for _, f := range v.fields {
		fieldPath := join(path, f.name)
		index, known := fields.index[f.name]
		switch {
		case known && f.value.kind == nullValue:
		case known:
			d.decode(f.value, into.FieldByIndex(index), fieldPath)
		default:
			d.unknown(f, fieldPath, fields.names)
		}
	}
}

// unknown reports a field the type does not have: one that capiam leaves alone
// on purpose, or a mistake.
func (d *decoder) unknown(f field, path string, names []string) {
	if u, ok := findUnsupported(d.kind, path); ok {
		if isNothing(f.value) {
			return
		}
		if u.refuse {
			d.report(f.line, path, "not supported by capiam: "+u.why)
		} else {
			d.warn(f.line, path, "not supported by capiam and left alone: "+u.why)
		}
		return
	}
	message := "unknown field"
	near, exact := nearest(f.name, names)
	switch {
	case exact:
		message += fmt.Sprintf(": names are case-sensitive, write %q", near)
	case near != "":
		message += fmt.Sprintf(": did you mean %q?", near)
	default:
		message += fmt.Sprintf(" (known here: %s)", strings.Join(names, ", "))
	}
	d.report(f.line, path, message)
	if near != "" {
		// The field that was meant must not be called missing as well.
		d.damage(strings.TrimSuffix(path, clip(f.name)) + near)
	}
}

// isNothing tells whether a value says nothing: null, {} or [].
func isNothing(v *value) bool {
	return v.kind == nullValue || v.kind == objectValue && len(v.fields) == 0 || v.kind == listValue && len(v.items) == 0
}

// typeFields are the fields of a struct by their names in JSON.
type typeFields struct {
	index map[string][]int
	names []string
}

// metadataFields are the fields of metadata that are the user's to set. The
// others are set by an API server.
var metadataFields = []string{"name", "namespace", "labels", "annotations"}

func fieldsOf(t reflect.Type) typeFields {
	fields := typeFields{index: make(map[string][]int)}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options == "inline" {
			inner := fieldsOf(f.Type)
			for _, name := range inner.names {
				fields.index[name] = append([]int{i}, inner.index[name]...)
			}
			fields.names = append(fields.names, inner.names...)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		if t == reflect.TypeFor[metav1.ObjectMeta]() && !slices.Contains(metadataFields, name) {
			continue
		}
		fields.index[name] = []int{i}
		fields.names = append(fields.names, name)
	}
	return fields
}
