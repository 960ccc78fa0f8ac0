package faults_test

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/mapping"
)

// TestManyIdentityMappings: what became of each IAMIdentityMapping gets into its
// status, and nobody waits for that: neither who comes nor who goes.
func TestManyIdentityMappings(t *testing.T) {
	t.Parallel()
	w := newPlane(t, v1alpha1.BackendCRD)
	w.crdBook(paula).write(paula, leaver)
	client, err := dynamic.NewForConfig(w.adminConfig())
	if err != nil {
		t.Fatal(err)
	}
	objects := client.Resource(identityMappings)
	create := func(name string, e mapping.Entry) {
		t.Helper()
		groups := make([]any, 0, len(e.Groups))
		for _, g := range e.Groups {
			groups = append(groups, g)
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": identityMappings.GroupVersion().String(), "kind": "IAMIdentityMapping",
			"metadata": map[string]any{"name": name},
			"spec":     map[string]any{"arn": e.ARN, "username": e.Username, "groups": groups},
		}}
		if _, err := objects.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const many = 200
	want := map[string]string{"paula": "Accepted", "joiner": "Accepted"}
	for i := range many {
		name, username := fmt.Sprintf("many-%03d", i), "someone"
		want[name] = "Accepted"
		if i%10 == 0 {
			username, want[name] = "{{Nonsense}}", "Invalid"
		}
		create(name, mapping.Entry{ARN: fmt.Sprintf("arn:aws:iam::%s:role/Many%03d", account, i), Username: username})
	}
	w.startAuthenticator()
	w.mustBeGranted(paula, leaver)
	if err := objects.Delete(t.Context(), "leaver", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("whoever goes is refused after %s", milliseconds(w.untilRefused(leaver)))
	create("joiner", joiner.entry())
	t.Logf("whoever comes is in after %s", milliseconds(w.untilGranted(joiner)))

	left := func(ctx context.Context) int {
		list, err := objects.List(ctx, metav1.ListOptions{})
		if err != nil {
			return -1
		}
		n := len(want)
		for _, o := range list.Items {
			if reason, ok := saidOf(&o); ok && reason == want[o.GetName()] {
				n--
			}
		}
		return n
	}
	t.Logf("%d statuses are still to be written", left(t.Context()))
	took := eventually(t, "all statuses are written", func(ctx context.Context) bool { return left(ctx) == 0 })
	t.Logf("all statuses are written %s later", milliseconds(took))
}

// saidOf returns the reason of an object's condition, if it is of what the object
// says now.
func saidOf(o *unstructured.Unstructured) (reason string, ok bool) {
	seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	if seen != o.GetGeneration() || len(conditions) != 1 {
		return "", false
	}
	c, _ := conditions[0].(map[string]any)
	reason, ok = c["reason"].(string)
	return reason, ok && c["observedGeneration"] == seen
}
