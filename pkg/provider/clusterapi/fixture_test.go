package clusterapi

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/capiam/capiam/pkg/kubeconfig"
)

// webhookFor is the API server's kubeconfig for a CA.
func webhookFor(t testing.TB, ca string) []byte {
	t.Helper()
	data, err := kubeconfig.Encode(kubeconfig.Webhook("https://localhost:21362/authenticate", []byte(ca)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// documentsOf splits a text at its lines of dashes, which stay with what comes
// after them.
func documentsOf(file, text string) []Document {
	docs := []Document{{File: file, Line: 1}}
	line := 0
	for l := range strings.Lines(text) {
		line++
		if strings.HasPrefix(l, "---") && line > 1 {
			docs = append(docs, Document{File: file, Line: line})
		}
		last := &docs[len(docs)-1]
		last.Text = append(last.Text, l...)
	}
	return docs
}

func readManifests(t testing.TB, text string) *Manifests {
	t.Helper()
	m, err := ReadManifests(documentsOf("cluster.yaml", text), types.NamespacedName{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// object reads an object from YAML.
func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return u
}
