package clusterapi

import (
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

func documentsOf(file, text string) []Document {
	return []Document{{File: file, Line: 1, Text: []byte(text)}}
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
