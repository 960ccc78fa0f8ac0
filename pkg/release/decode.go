package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	yaml "go.yaml.in/yaml/v3"
)

// maxManifest bounds a manifest file or document in bytes. EKS Anywhere's own
// Bundles take less than 2 MiB.
const maxManifest = 16 << 20

// rawDocument is one YAML document as it was written.
type rawDocument struct {
	// where is the file, with the line for a document that is not the first.
	where      string
	apiVersion string
	kind       string
	content    map[string]any
}

// split reads the documents of a YAML file. Empty documents are skipped; a
// duplicate key is an error.
func split(name string, data []byte) ([]rawDocument, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%s: larger than %d MiB, which no release manifest is", name, maxManifest>>20)
	}
	var docs []rawDocument
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: not YAML: %w", name, err)
		}
		if len(node.Content) == 0 || node.Content[0].Tag == "!!null" {
			continue
		}
		doc := rawDocument{where: name}
		if node.Content[0].Line > 1 {
			doc.where = fmt.Sprintf("%s:%d", name, node.Content[0].Line)
		}
		if err := node.Decode(&doc.content); err != nil {
			return nil, fmt.Errorf("%s: %w", doc.where, err)
		}
		// Numbers become those of JSON, which API objects are made of.
		encoded, err := json.Marshal(doc.content)
		if err != nil {
			return nil, fmt.Errorf("%s: not a Kubernetes object: %w", doc.where, err)
		}
		doc.content = nil
		if err := unmarshalObject(encoded, &doc.content); err != nil {
			return nil, fmt.Errorf("%s: not a Kubernetes object: %w", doc.where, err)
		}
		doc.apiVersion, _ = doc.content["apiVersion"].(string)
		doc.kind, _ = doc.content["kind"].(string)
		docs = append(docs, doc)
	}
}

// unmarshalObject decodes JSON with whole numbers as int64, the only kind that
// an unstructured object may be copied with.
func unmarshalObject(data []byte, into *map[string]any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	for k, v := range *into {
		(*into)[k] = plainNumbers(v)
	}
	return nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			v[k] = plainNumbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = plainNumbers(item)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// decode fills a typed document. Fields without a Go field are passed over:
// other publishers' documents are full of them.
func (d rawDocument) decode(into any) error {
	data, err := json.Marshal(d.content)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		hint := ""
		if wrongType.Value == "number" {
			hint = "; put it in quotes"
		}
		return fmt.Errorf("%s: %s: %s: is a %s, want a %s%s", d.where, d.kind, wrongType.Field, wrongType.Value, wrongType.Type, hint)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", d.where, d.kind, err)
	}
	return nil
}
