package clusterapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/release"
	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/programs"
)

// creating are the options for making a cluster of the fixture.
func creating(t *testing.T, c *cluster.Cluster) clusterapi.PreflightOptions {
	t.Helper()
	manifest, err := release.Default()
	if err != nil {
		t.Fatal(err)
	}
	return clusterapi.PreflightOptions{
		Cluster:  types.NamespacedName{Namespace: c.Namespace, Name: c.Name},
		Creating: true,
		Kinds: []schema.GroupVersionKind{
			clusterv1.GroupVersion.WithKind("Cluster"),
			controlplanev1.GroupVersion.WithKind("KubeadmControlPlane"),
			{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta2", Kind: "DevCluster"},
			{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta1", Kind: "DevMachineTemplate"},
		},
		KubernetesVersion:   "1.36",
		ControlPlaneVersion: "v1.36.3",
		Release:             manifest,
	}
}

// reach is the management cluster as capiam sees it.
func reach(t *testing.T, cfg *rest.Config) *clusterapi.Management {
	t.Helper()
	m, err := clusterapi.New(cfg, "management")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// problems are those checks that have not passed, by their names.
func problems(checks []clusterapi.Check) map[string]clusterapi.Check {
	found := map[string]clusterapi.Check{}
	for _, c := range checks {
		if c.Problem != "" {
			found[c.Name] = c
		}
	}
	return found
}

// only fails the test unless the named checks alone have a problem.
func only(t *testing.T, checks []clusterapi.Check, names ...string) map[string]clusterapi.Check {
	t.Helper()
	found := problems(checks)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Fatalf("problems with %q, want %q: %+v", got, names, found)
	}
	return found
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "preflight")
	m := reach(t, c.Management.Config)
	o := creating(t, c)

	checks := m.Preflight(within(t), o)
	only(t, checks)
	for i, c := range clusterapi.PreflightChecks() {
		if checks[i].Name != c.Name {
			t.Errorf("check %d is %s, want %s", i, checks[i].Name, c.Name)
		}
	}

	unknown := o
	unknown.Kinds = append(unknown.Kinds, schema.GroupVersionKind{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta1", Kind: "VSphereCluster"})
	found := only(t, m.Preflight(within(t), unknown), "provider-kinds")
	if p := found["provider-kinds"].Problem; p != "it does not have VSphereCluster of infrastructure.cluster.x-k8s.io/v1beta1" {
		t.Errorf("problem %q", p)
	}

	if err := c.Apply(within(t), fixture(t, "cluster-v1beta2.yaml", c)); err != nil {
		t.Fatal(err)
	}
	only(t, m.Preflight(within(t), o), "name-clash")
	o.Creating, o.Kinds, o.ControlPlaneVersion = false, nil, ""
	only(t, m.Preflight(within(t), o))
	o.KubernetesVersion = "1.35"
	only(t, m.Preflight(within(t), o), "kubernetes-version")
}

// A user who may do nothing is told what is missing, and may do it once an
// administrator has done what the remedy says.
func TestPreflightPermissions(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "permissions")
	user := "somebody-" + c.Namespace
	cfg := rest.CopyConfig(c.Management.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	m := reach(t, cfg)
	o := creating(t, c)

	denied := only(t, m.Preflight(within(t), o), "permissions")["permissions"]
	for _, text := range []string{
		"user " + user + " may not ",
		"get clusters.cluster.x-k8s.io permissions", "list machines.cluster.x-k8s.io",
		"patch devclusters.infrastructure.cluster.x-k8s.io", "create secrets", "in namespace eksa-system",
	} {
		if !strings.Contains(denied.Problem, text) {
			t.Errorf("want %q: %s", text, denied.Problem)
		}
	}

	_, roles, _ := strings.Cut(denied.Remedy, "\n")
	kubectl := exec.CommandContext(within(t), filepath.Join(programs.Dir(t), "kubectl"), "--kubeconfig", c.Management.Kubeconfig, "auth", "reconcile", "-f", "-")
	kubectl.Env = []string{"HOME=" + t.TempDir()}
	kubectl.Stdin = strings.NewReader(roles)
	if out, err := kubectl.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, roles)
	}
	// The API server learns of roles by a watch.
	if err := c.Management.Wait(within(t), func(ctx context.Context) error {
		if left := problems(m.Preflight(ctx, o)); len(left) > 0 {
			return fmt.Errorf("still: %+v", left)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestPreflightRefusedCredentials(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "refused")
	cfg := rest.AnonymousClientConfig(c.Management.Config)
	cfg.BearerToken = "not-a-token"
	checks := reach(t, cfg).Preflight(within(t), creating(t, c))
	if len(checks) != 1 || !strings.Contains(checks[0].Problem, "does not take the kubeconfig's credentials") {
		t.Errorf("checks: %+v", checks)
	}
}

// A management cluster without Cluster API, with an old one, and with CRDs that
// somebody has installed by hand: the real one, with some answers changed.
func TestPreflightOtherClusterAPI(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "versions")
	const group, crd = "/apis/controlplane.cluster.x-k8s.io", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/kubeadmcontrolplanes.controlplane.cluster.x-k8s.io"
	for _, tt := range []struct {
		name, path string
		answer     func(w http.ResponseWriter)
		want       string
	}{
		{"none", "/apis/cluster.x-k8s.io", notFound, "it has no API group cluster.x-k8s.io"},
		{"no kubeadm control plane", group, notFound, "it has no API group controlplane.cluster.x-k8s.io"},
		{"old", group, answerJSON(map[string]any{"kind": "APIGroup", "apiVersion": "v1", "name": "controlplane.cluster.x-k8s.io", "versions": []any{
			map[string]any{"groupVersion": "controlplane.cluster.x-k8s.io/v1beta1", "version": "v1beta1"},
		}}), "it serves controlplane.cluster.x-k8s.io v1beta1, and capiam needs v1beta2"},
		{"without labels", crd, answerJSON(map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{
			"name": "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io",
		}}), "CustomResourceDefinition kubeadmcontrolplanes.controlplane.cluster.x-k8s.io has no label cluster.x-k8s.io/v1beta2=v1beta2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := changed(t, c.Management.Config, tt.path, tt.answer)
			found := problems(reach(t, cfg).Preflight(within(t), creating(t, c)))
			if got := found["cluster-api-version"]; got.Problem != tt.want && !strings.HasPrefix(got.Problem, tt.want) || got.Remedy == "" {
				t.Errorf("%+v, want %q", got, tt.want)
			}
		})
	}
}

func notFound(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }

func answerJSON(v any) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
}

// changed is the way to the management cluster past somebody who answers one path
// otherwise.
func changed(t *testing.T, cfg *rest.Config, path string, answer func(http.ResponseWriter)) *rest.Config {
	t.Helper()
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimSuffix(r.URL.Path, "/") == path {
			answer(w)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}
