package clusterapi_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// refused runs the command line, which has to fail with the texts.
func (k *capiam) refused(args []string, texts ...string) {
	k.t.Helper()
	stdout, stderr, err := k.try(args...)
	if err == nil {
		k.t.Errorf("capiam %s: want an error:\n%s%s", strings.Join(args, " "), stdout, stderr)
	}
	for _, text := range append(texts, "nothing was changed") {
		if !strings.Contains(stderr, text) {
			k.t.Errorf("capiam %s: want %q:\n%s", strings.Join(args, " "), text, stderr)
		}
	}
}

// A user who lacks rights is told which, and what gives them.
func TestRefuseWithoutRights(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "norights")
	k := newCapiam(t, c)
	cfg, err := clientcmd.LoadFromFile(c.Management.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range cfg.AuthInfos {
		user.Impersonate, user.ImpersonateGroups = "jane", []string{"system:authenticated"}
	}
	k.management = filepath.Join(k.dir, "jane.kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, k.management); err != nil {
		t.Fatal(err)
	}
	k.refused([]string{"create", "cluster", "-f", k.spec("admin", fixture(t, "cluster-v1beta2.yaml", c))},
		"permissions: user jane may not ", "create secrets", "in namespace eksa-system", "kind: RoleBinding")
	wantNothing(t, c)
}

// A Cluster of somebody else's making is not taken for the spec's, and one that
// is paused is not changed.
func TestRefuseClashAndPause(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "clash")
	objects := fixture(t, "cluster-v1beta2.yaml", c)
	paused := strings.Replace(string(objects), "spec:\n  clusterNetwork:", "spec:\n  paused: true\n  clusterNetwork:", 1)
	if err := c.Apply(t.Context(), []byte(paused)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // nobody works on its deletion either
		object := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}
		resume := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"paused":false}}`))
		if err := c.Management.Client.Patch(context.Background(), object, resume); err != nil {
			t.Error(err)
		}
	})
	k := newCapiam(t, c)
	k.refused([]string{"create", "cluster", "-f", k.spec("admin", objects)}, "name-clash: Cluster "+c.Namespace+"/clash is there already", "capiam upgrade cluster")
	k.refused([]string{"upgrade", "cluster", "-f", k.spec("admin", nil)}, "paused: ", `"paused":false`)
	wantNoSecrets(t, c)
}

// A cluster that EKS Anywhere's own controller keeps is left to it.
func TestRefuseEKSAnywhere(t *testing.T) {
	t.Parallel()
	c := &cluster.Cluster{Management: shared.get(t), Namespace: "eksa-system", Name: "theirs"}
	ensureEKSANamespace(t, c)
	k := newCapiam(t, c)
	yes := true
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "clusters.anywhere.eks.amazonaws.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "anywhere.eks.amazonaws.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "clusters", Singular: "cluster", Kind: "Cluster", ListKind: "ClusterList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1alpha1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}},
			}},
		},
	}
	if err := c.Management.Client.Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	theirs := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
		"metadata": map[string]any{
			"namespace": "eksa-system", "name": c.Name,
			"finalizers": []any{"clusters.anywhere.eks.amazonaws.com/finalizer"},
		},
	}}
	t.Cleanup(func() {
		free := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(c.Management.Client.Patch(context.Background(), theirs, free)); err != nil {
			t.Error(err)
		}
		if err := c.Management.Client.Delete(context.Background(), crd); err != nil {
			t.Error(err)
		}
	})
	if err := c.Management.Wait(within(t), func(ctx context.Context) error {
		return c.Management.Client.Create(ctx, theirs)
	}); err != nil {
		t.Fatal(err)
	}
	k.refused([]string{"create", "cluster", "-f", k.spec("admin", fixture(t, "cluster-v1beta2.yaml", c))},
		"eks-anywhere: Cluster eksa-system/theirs of anywhere.eks.amazonaws.com manages it", "eksctl anywhere upgrade cluster")
	wantNothing(t, c)
	if _, err := os.Stat(filepath.Join(k.dir, c.Name)); err == nil {
		t.Error("files were written")
	}
}
