package clusterapi

import (
	"net"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/capiam/capiam/pkg/release"
)

// holding is a management cluster that has the objects, for what only reads.
func holding(t *testing.T, objects ...client.Object) *Management {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, clusterv1.AddToScheme, controlplanev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	scheme.AddKnownTypeWithName(eksaClusterKind, &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(eksaClusterKind.GroupVersion().WithKind("ClusterList"), &unstructured.UnstructuredList{})
	// The client writes into the objects it is given, and cases share some.
	own := make([]client.Object, len(objects))
	for i, o := range objects {
		own[i] = o.DeepCopyObject().(client.Object)
	}
	return &Management{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(own...).Build()}
}

// check runs one check alone, on a management cluster that has the objects.
func check(t *testing.T, name string, o PreflightOptions, objects ...client.Object) Check {
	t.Helper()
	p := &preflight{m: holding(t, objects...), o: o}
	p.look(t.Context())
	all := PreflightChecks()
	i := slices.IndexFunc(all, func(c PreflightCheck) bool { return c.Name == name })
	return all[i].check(t.Context(), p)
}

// want fails the test unless the check's problem holds the text, or there is none
// if the text is empty.
func want(t *testing.T, got Check, text string) {
	t.Helper()
	if text == "" && got.Problem != "" || !strings.Contains(got.Problem, text) {
		t.Errorf("%s: problem %q, want %q", got.Name, got.Problem, text)
	}
	if got.Problem != "" && got.Remedy == "" {
		t.Errorf("%s: no remedy for %q", got.Name, got.Problem)
	}
}

var (
	demo = types.NamespacedName{Namespace: "prod", Name: "demo"}
	eksa = types.NamespacedName{Namespace: SecretNamespace, Name: "demo"}
)

// there are the objects of a cluster, with Cluster and KubeadmControlPlane
// changed.
func there(key types.NamespacedName, change ...func(*State)) []client.Object {
	s := observed(change...)
	objects := []client.Object{s.Cluster}
	if s.ControlPlane != nil {
		objects = append(objects, s.ControlPlane)
	}
	s.Cluster.Name = key.Name
	for _, o := range objects {
		o.SetNamespace(key.Namespace)
	}
	return objects
}

func secretOf(namespace, name, owner string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if owner != "" {
		s.Annotations = map[string]string{ClusterAnnotation: owner}
	}
	return s
}

func TestPreflightChecksAreDocumented(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range PreflightChecks() {
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(c.Name) || seen[c.Name] {
			t.Errorf("name %q: want kebab-case, once", c.Name)
		}
		seen[c.Name] = true
		if !strings.HasSuffix(c.About, ".") {
			t.Errorf("%s: %q: want a sentence", c.Name, c.About)
		}
	}
}

func TestPreflightStopsWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	m, err := New(&rest.Config{Host: "https://" + address}, "mgmt")
	if err != nil {
		t.Fatal(err)
	}
	got := m.Preflight(t.Context(), PreflightOptions{Cluster: demo})
	if len(got) != 1 {
		t.Fatalf("%d checks, want the first alone", len(got))
	}
	want(t, got[0], "the management cluster (context mgmt) does not answer: ")
}

func TestPreflightEKSAnywhere(t *testing.T) {
	t.Parallel()
	controller := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: eksaControllerKey.Namespace, Name: eksaControllerKey.Name}}
	theirs := func(finalizers ...string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(eksaClusterKind)
		u.SetNamespace("teams")
		u.SetName("demo")
		u.SetFinalizers(finalizers)
		return u
	}
	labelled := func(s *State) { s.Cluster.Labels = map[string]string{eksaClusterLabel: "demo"} }
	labelledControlPlane := func(s *State) { s.ControlPlane.Labels = map[string]string{eksaClusterLabel: "demo"} }
	for _, tt := range []struct {
		name    string
		cluster types.NamespacedName
		objects []client.Object
		want    string
	}{
		{"nothing of theirs", demo, there(demo), ""},
		{"no cluster at all", demo, nil, ""},
		{"only the controller", eksa, append(there(eksa), controller), ""},
		{"their Cluster, with their finalizer", eksa, append(there(eksa), theirs(eksaFinalizer)), "Cluster teams/demo of anywhere.eks.amazonaws.com manages it"},
		{"their Cluster, before it is made", eksa, []client.Object{theirs(), controller}, "manages it"},
		{"capiam's own Cluster of their kind", eksa, append(there(eksa), theirs()), ""},
		{"a Cluster in a namespace they do not use", demo, append(there(demo), theirs(eksaFinalizer), controller), ""},
		{"labels", eksa, append(there(eksa, labelled), controller), "Cluster eksa-system/demo has the label"},
		{"labels of the control plane", eksa, append(there(eksa, labelledControlPlane), controller), "KubeadmControlPlane eksa-system/demo-cp has the label"},
		{"labels that are left", eksa, there(eksa, labelled), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want(t, check(t, "eks-anywhere", PreflightOptions{Cluster: tt.cluster}, tt.objects...), tt.want)
		})
	}
}

func TestPreflightNameClash(t *testing.T) {
	t.Parallel()
	ours := func(s *State) { s.Cluster.Annotations = map[string]string{ManagedAnnotation: "true"} }
	ca := CASecretName("demo")
	for _, tt := range []struct {
		name     string
		creating bool
		objects  []client.Object
		want     string
		warning  bool
	}{
		{name: "nothing there", creating: true},
		{name: "another's", creating: true, objects: there(demo), want: "Cluster prod/demo is there already, and capiam has not made it"},
		{name: "another's, to be upgraded", objects: there(demo)},
		{name: "capiam's", creating: true, objects: there(demo, ours)},
		{name: "its own Secrets", creating: true, objects: append(there(demo, ours), secretOf(SecretNamespace, ca, "prod/demo"))},
		{name: "Secret of another namespace's", objects: append(there(demo), secretOf(SecretNamespace, ca, "test/demo")), want: "belongs to Cluster test/demo"},
		{name: "kubeconfig of another namespace's", objects: []client.Object{secretOf(SecretNamespace, KubeconfigSecretName("demo"), "test/demo")}, want: "belongs to Cluster test/demo"},
		{name: "Secret of EKS Anywhere's", objects: append(append(there(demo), there(eksa)...), secretOf(SecretNamespace, ca, "")), want: "belongs to Cluster eksa-system/demo"},
		{name: "Secret of nobody", objects: append(there(demo), secretOf(SecretNamespace, ca, ""))},
		{name: "left over", creating: true, objects: []client.Object{secretOf("prod", "demo-kubeconfig", "")}, want: "it may be left from an earlier one", warning: true},
		{name: "in use", objects: append(there(demo), secretOf("prod", "demo-kubeconfig", ""))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := check(t, "name-clash", PreflightOptions{Cluster: demo, Creating: tt.creating}, tt.objects...)
			want(t, got, tt.want)
			if got.Warning != tt.warning {
				t.Errorf("warning %v, want %v", got.Warning, tt.warning)
			}
		})
	}
}

func TestPreflightControlPlane(t *testing.T) {
	t.Parallel()
	other := func(s *State) { s.Cluster.Spec.ControlPlaneRef.Kind = "TalosControlPlane" }
	want(t, check(t, "control-plane", PreflightOptions{Cluster: demo}, there(demo)...), "")
	want(t, check(t, "control-plane", PreflightOptions{Cluster: demo}), "")
	want(t, check(t, "control-plane", PreflightOptions{Cluster: demo}, there(demo, other)...), "this is a TalosControlPlane")
}

func TestPreflightPaused(t *testing.T) {
	t.Parallel()
	annotated := func(s *State) { s.ControlPlane.Annotations = map[string]string{clusterv1.PausedAnnotation: "true"} }
	want(t, check(t, "paused", PreflightOptions{Cluster: demo}), "")
	want(t, check(t, "paused", PreflightOptions{Cluster: demo}, there(demo)...), "")
	got := check(t, "paused", PreflightOptions{Cluster: demo}, there(demo, pausedCluster)...)
	want(t, got, "Cluster demo is paused (spec.paused)")
	if !strings.Contains(got.Remedy, `patch cluster demo --type merge --patch '{"spec":{"paused":false}}'`) {
		t.Errorf("remedy %q", got.Remedy)
	}
	got = check(t, "paused", PreflightOptions{Cluster: demo}, there(demo, annotated)...)
	want(t, got, "KubeadmControlPlane demo-cp is paused (annotation cluster.x-k8s.io/paused)")
	if !strings.Contains(got.Remedy, "annotate kubeadmcontrolplane demo-cp cluster.x-k8s.io/paused-") {
		t.Errorf("remedy %q", got.Remedy)
	}
}

func TestPreflightKubernetesVersion(t *testing.T) {
	t.Parallel()
	manifest, err := release.Default()
	if err != nil {
		t.Fatal(err)
	}
	known := manifest.KubeVersions()
	newest := known[len(known)-1]
	live := func(version string) []client.Object {
		return there(demo, func(s *State) { s.ControlPlane.Spec.Version = version })
	}
	topology := there(demo, noControlPlane, func(s *State) {
		s.Cluster.Spec.ControlPlaneRef = clusterv1.ContractVersionedObjectReference{}
		s.Cluster.Spec.Topology = clusterv1.Topology{ClassRef: clusterv1.ClusterClassRef{Name: "class"}, Version: "v1.30.1"}
	})
	for _, tt := range []struct {
		name, is, brings string
		objects          []client.Object
		want             string
	}{
		{"as live", newest, "", live("v" + newest + ".3"), ""},
		{"as in the spec's objects", newest, "v" + newest + ".3", nil, ""},
		{"the spec's objects say what will be", newest, "v" + newest + ".0", live("v1.20.0"), ""},
		{"not as live", newest, "", live("v1.20.5"), `KubeadmControlPlane demo-cp has Kubernetes v1.20.5, and the spec says kubernetesVersion: "` + newest + `"`},
		{"not as the topology", newest, "", topology, "the topology of Cluster prod/demo has Kubernetes v1.30.1"},
		{"not as the spec's objects", newest, "v1.20.5", nil, "the spec's control plane has Kubernetes v1.20.5"},
		{"no version", newest, "latest", nil, "want a version such as"},
		{"too old", "1.20", "v1.20.5", nil, "the release manifest has nothing for Kubernetes 1.20, but for " + known[0]},
		{"too old, of a spec that says none", "", "", live("v1.20.5"), "the release manifest has nothing for Kubernetes 1.20"},
		{"nothing known", "", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := PreflightOptions{Cluster: demo, KubernetesVersion: tt.is, ControlPlaneVersion: tt.brings, Release: manifest}
			want(t, check(t, "kubernetes-version", o, tt.objects...), tt.want)
		})
	}
}

func TestPreflightImage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/capiam/authenticator:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, empty.Image); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for _, tt := range []struct {
		name, image, want string
		warning           bool
	}{
		{"there", ref.Name(), "", false},
		{"no such tag", host + "/capiam/authenticator:v2", host + " says that it has no image", true},
		{"no such repository", host + "/capiam/other:v1", "has no image", true},
		{"no such digest", host + "/capiam/authenticator:v1@sha256:" + strings.Repeat("0", 64), "has no image", true},
		{"nobody answers", silent.Addr().String() + "/capiam/authenticator:v1", "", false},
		{"no reference", "Not An Image", "could not parse reference", false},
		{"none", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			got := check(t, "image", PreflightOptions{Image: tt.image})
			want(t, got, tt.want)
			if got.Warning != tt.warning {
				t.Errorf("warning %v, want %v", got.Warning, tt.warning)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	has := func(all []access, a access) bool { return slices.Contains(all, a) }
	kcp := func(name, verb string) access {
		return access{"prod", "controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes", name, verb}
	}
	live := needs(demo, observed(), nil, nil)
	for _, a := range []access{
		{"prod", "cluster.x-k8s.io", "clusters", "demo", "get"},
		{"prod", "cluster.x-k8s.io", "machines", "", "list"},
		{"prod", "", "secrets", "demo-kubeconfig", "get"},
		{"prod", "", "secrets", "", "create"},
		{SecretNamespace, "", "secrets", CASecretName("demo"), "update"},
		kcp("demo-cp", "update"),
	} {
		if !has(live, a) {
			t.Errorf("to change a live cluster: no %s", a)
		}
	}
	for _, a := range live {
		if a.verb == "delete" || a.namespace == "" || a.verb == "patch" {
			t.Errorf("to change a live cluster: %s", a)
		}
	}
	devCluster := schema.GroupResource{Group: "infrastructure.cluster.x-k8s.io", Resource: "devclusters"}
	creating := needs(demo, nil, []schema.GroupResource{devCluster}, []string{SecretNamespace})
	for _, a := range []access{
		{"prod", devCluster.Group, devCluster.Resource, "", "patch"},
		{"prod", devCluster.Group, devCluster.Resource, "", "create"},
		{"", "", "namespaces", "", "create"},
	} {
		if !has(creating, a) {
			t.Errorf("to create: no %s", a)
		}
	}
	if has(creating, kcp("", "update")) {
		t.Error("to create: updates a control plane")
	}
	topology := needs(demo, observed(func(s *State) {
		s.Cluster.Spec.Topology.ClassRef = clusterv1.ClusterClassRef{Namespace: "classes", Name: "class"}
	}), nil, nil)
	for _, a := range []access{
		{"prod", "cluster.x-k8s.io", "clusters", "demo", "update"},
		{"classes", "cluster.x-k8s.io", "clusterclasses", "class", "get"},
	} {
		if !has(topology, a) {
			t.Errorf("to change a topology: no %s", a)
		}
	}
	if has(topology, kcp("demo-cp", "update")) {
		t.Error("to change a topology: updates the control plane, which is the topology's")
	}
}

func TestDenialHasTheRoles(t *testing.T) {
	t.Parallel()
	got := denial("system:serviceaccount:ci:deploy", []access{
		{"prod", "cluster.x-k8s.io", "clusters", "demo", "get"},
		{"prod", "cluster.x-k8s.io", "clusters", "", "patch"},
		{"", "", "namespaces", "", "create"},
	}, []string{SecretNamespace})
	const problem = "user system:serviceaccount:ci:deploy may not create namespaces; get clusters.cluster.x-k8s.io demo, patch clusters.cluster.x-k8s.io in namespace prod"
	const remedy = "have an administrator give this to `kubectl auth reconcile -f -`, or make the namespace: kubectl create namespace eksa-system" + `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: capiam
rules:
- apiGroups:
  - ""
  resources:
  - namespaces
  verbs:
  - create
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: capiam
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: capiam
subjects:
- kind: ServiceAccount
  name: deploy
  namespace: ci
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: capiam
  namespace: prod
rules:
- apiGroups:
  - cluster.x-k8s.io
  resources:
  - clusters
  verbs:
  - get
  - patch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: capiam
  namespace: prod
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: capiam
subjects:
- kind: ServiceAccount
  name: deploy
  namespace: ci
`
	if diff := cmp.Diff(problem, got.problem); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(remedy, got.remedy); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
