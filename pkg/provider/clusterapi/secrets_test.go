package clusterapi

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// TestSecretsOfAnother: two clusters of one name, one of them EKS Anywhere's, and
// what is deleted is the right one's.
func TestSecretsOfAnother(t *testing.T) {
	t.Parallel()
	secret := func(namespace, name, owner string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{"key": []byte("value")}}
		if owner != "" {
			s.Annotations = map[string]string{ClusterAnnotation: owner}
		}
		return s
	}
	ca, users, bootstrap := CASecretName("prod"), KubeconfigSecretName("prod"), BootstrapSecretName("prod")
	eksa := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: SecretNamespace, Name: "prod"}}
	m := holding(t, eksa,
		secret(SecretNamespace, ca, ""), secret(SecretNamespace, users, ""), // EKS Anywhere writes no annotation
		secret("team", ca, "team/prod"), secret("team", users, "team/prod"), secret("team", bootstrap, "team/prod"))

	if err := m.DeleteSecrets(t.Context(), types.NamespacedName{Namespace: "team", Name: "prod"}); err != nil {
		t.Fatal(err)
	}
	left := func() []string {
		t.Helper()
		var list corev1.SecretList
		if err := m.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list.Items {
			names = append(names, s.Namespace+"/"+s.Name)
		}
		slices.Sort(names)
		return names
	}
	if got, want := left(), []string{"eksa-system/" + ca, "eksa-system/" + users}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	// The same command for a namespace that has no such cluster.
	if err := m.DeleteSecrets(t.Context(), types.NamespacedName{Namespace: "default", Name: "prod"}); err != nil || len(left()) != 2 {
		t.Errorf("%v, left are %v", err, left())
	}
	if err := m.DeleteSecrets(t.Context(), types.NamespacedName{Namespace: SecretNamespace, Name: "prod"}); err != nil || len(left()) != 0 {
		t.Errorf("%v, left are %v", err, left())
	}
}

// TestStaticPodStaysWithTheControlPlane: machines find the Secret in their own
// namespace, and clusterctl move takes it along.
func TestStaticPodStaysWithTheControlPlane(t *testing.T) {
	t.Parallel()
	m := holding(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}})
	key := types.NamespacedName{Namespace: "team", Name: "prod"}
	for _, pod := range []string{"first", "second"} {
		if err := m.WriteStaticPod(t.Context(), key, []byte(pod)); err != nil {
			t.Fatal(err)
		}
		var list corev1.SecretList
		if err := m.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
			t.Fatalf("%d Secrets, %v", len(list.Items), err)
		}
		s, want := list.Items[0], BootstrapSecret(key, []byte(pod))
		if s.Namespace != want.GetNamespace() || s.Name != want.GetName() || string(s.Data[BootstrapKey]) != pod {
			t.Errorf("got %s/%s with %s", s.Namespace, s.Name, s.Data)
		}
		for k, v := range want.GetLabels() {
			if s.Labels[k] != v {
				t.Errorf("label %s is %q", k, s.Labels[k])
			}
		}
	}
}
