package clusterapi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/yaml"
)

// access is something that capiam does on a management cluster.
type access struct {
	// namespace is empty for what is in none.
	namespace       string
	group, resource string
	// name is empty for any.
	name string
	verb string
}

func (a access) String() string {
	text := a.verb + " " + a.resource
	if a.group != "" {
		text += "." + a.group
	}
	if a.name != "" {
		text += " " + a.name
	}
	return text
}

// needs are all that capiam does when it creates or upgrades a cluster. applied
// are the resources of the objects it applies, none if it changes what is there;
// missing are the namespaces it has to make.
func needs(cluster types.NamespacedName, s *State, applied []schema.GroupResource, missing []string) []access {
	var all []access
	add := func(namespace, group, resource, name string, verbs ...string) {
		for _, verb := range verbs {
			if a := (access{namespace, group, resource, name, verb}); !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	core, controlPlane := clusterv1.GroupVersion.Group, controlplanev1.GroupVersion.Group
	const kcps = "kubeadmcontrolplanes"
	kcpName := ""
	if s != nil {
		kcpName = s.Cluster.Spec.ControlPlaneRef.Name
	}
	add(cluster.Namespace, core, "clusters", cluster.Name, "get")
	add(cluster.Namespace, controlPlane, kcps, kcpName, "get")
	add(cluster.Namespace, core, "machines", "", "list")
	for _, purpose := range []secret.Purpose{secret.ClusterCA, secret.Kubeconfig} {
		add(cluster.Namespace, "", "secrets", secret.Name(cluster.Name, purpose), "get")
	}
	for _, r := range applied {
		add(cluster.Namespace, r.Group, r.Resource, "", "get", "create", "patch")
	}
	switch {
	case len(applied) > 0:
	case s != nil && s.Topology():
		add(cluster.Namespace, core, "clusters", cluster.Name, "update")
	default:
		add(cluster.Namespace, controlPlane, kcps, kcpName, "update")
	}
	if s != nil && s.Topology() {
		class := s.Cluster.GetClassKey()
		add(class.Namespace, core, "clusterclasses", class.Name, "get")
		add(class.Namespace, controlPlane, "kubeadmcontrolplanetemplates", "", "get")
	}
	for _, kept := range keptSecrets(cluster) {
		for _, namespace := range kept.namespaces {
			add(namespace, "", "secrets", kept.name, "get", "update")
		}
	}
	for _, namespace := range secretNamespaces(cluster) {
		add(namespace, "", "secrets", "", "create")
	}
	if len(missing) > 0 {
		add("", "", "namespaces", "", "create")
	}
	return all
}

func (p *preflight) permissions(ctx context.Context) finding {
	var missing []string
	for _, namespace := range secretNamespaces(p.o.Cluster) {
		if err := p.m.Get(ctx, types.NamespacedName{Name: namespace}, &corev1.Namespace{}); apierrors.IsNotFound(err) {
			missing = append(missing, namespace)
		}
	}
	needed := needs(p.o.Cluster, p.state, p.applied(), missing)
	allowed := make([]bool, len(needed))
	reviews := p.kube.AuthorizationV1().SelfSubjectAccessReviews()
	group, reviewCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, a := range needed {
		group.Go(func() error {
			review, err := reviews.Create(reviewCtx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: a.namespace, Verb: a.verb, Group: a.group, Resource: a.resource, Name: a.name,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("whether the user may %s: %w", a, err)
			}
			allowed[i] = review.Status.Allowed
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		f := unknown("find out", err)
		f.warning = apierrors.IsForbidden(err) // then there is nothing to ask, and the doing will show
		return f
	}
	var denied []access
	for i, a := range needed {
		if !allowed[i] {
			denied = append(denied, a)
		}
	}
	if len(denied) == 0 {
		return finding{}
	}
	user := "USER"
	if who, err := p.kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); err == nil {
		user = who.Status.UserInfo.Username
	}
	return denial(user, denied, missing)
}

// applied are the resources that are to be applied. A kind that is not there is
// for another check to tell.
func (p *preflight) applied() []schema.GroupResource {
	kinds := p.o.Kinds
	if len(kinds) == 0 && p.o.Creating {
		kinds = []schema.GroupVersionKind{clusterv1.GroupVersion.WithKind("Cluster"), controlplanev1.GroupVersion.WithKind("KubeadmControlPlane")}
	}
	var resources []schema.GroupResource
	for _, kind := range kinds {
		if mapping, err := p.m.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version); err == nil {
			resources = append(resources, mapping.Resource.GroupResource())
		}
	}
	return resources
}

// denial says what a user may not do, and has the roles that would let them.
func denial(user string, denied []access, missingNamespaces []string) finding {
	byNamespace := map[string][]access{}
	for _, a := range denied {
		byNamespace[a.namespace] = append(byNamespace[a.namespace], a)
	}
	var texts, remedies []string
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		var list []string
		for _, a := range byNamespace[namespace] {
			list = append(list, a.String())
		}
		where := ""
		if namespace != "" {
			where = " in namespace " + namespace
		}
		texts = append(texts, strings.Join(list, ", ")+where)
		remedies = append(remedies, role(user, namespace, byNamespace[namespace]))
	}
	remedy := "have an administrator give this to `kubectl auth reconcile -f -`"
	if len(missingNamespaces) > 0 {
		remedy += ", or make the namespace: kubectl create namespace " + strings.Join(missingNamespaces, " ")
	}
	return finding{
		problem: fmt.Sprintf("user %s may not %s", user, strings.Join(texts, "; ")),
		remedy:  remedy + "\n" + strings.Join(remedies, "---\n"),
	}
}

// role returns a Role with its binding, or a ClusterRole for what is in no
// namespace, as YAML. One rule has all verbs that a resource needs.
func role(user, namespace string, needed []access) string {
	verbs := map[schema.GroupResource][]string{}
	var order []schema.GroupResource
	for _, a := range needed {
		r := schema.GroupResource{Group: a.group, Resource: a.resource}
		if verbs[r] == nil {
			order = append(order, r)
		}
		if !slices.Contains(verbs[r], a.verb) {
			verbs[r] = append(verbs[r], a.verb)
		}
	}
	var rules []rbacv1.PolicyRule
	for _, r := range order {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: verbs[r]})
	}
	kind, api := "Role", rbacv1.SchemeGroupVersion.String()
	if namespace == "" {
		kind = "ClusterRole"
	}
	object := metav1.ObjectMeta{Namespace: namespace, Name: "capiam"}
	documents := []any{
		rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: api, Kind: kind}, ObjectMeta: object, Rules: rules},
		rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: api, Kind: kind + "Binding"}, ObjectMeta: object,
			Subjects: []rbacv1.Subject{subject(user)},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: "capiam"},
		},
	}
	var texts []string
	for _, d := range documents {
		text, err := yaml.Marshal(d)
		if err != nil {
			return "# " + err.Error() + "\n"
		}
		texts = append(texts, string(text))
	}
	return strings.Join(texts, "---\n")
}

// subject is a user as RBAC names it.
func subject(user string) rbacv1.Subject {
	if rest, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		if namespace, name, ok := strings.Cut(rest, ":"); ok {
			return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
		}
	}
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}
}
