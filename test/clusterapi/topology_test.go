package clusterapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/test/clusterapi/cloudinit"
	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// A class that offers no variable is refused, and the error says what to put
// into it. With that in it, Cluster API makes a control plane whose API servers
// ask the authenticator.
func TestTopology(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "topology")
	if err := c.Apply(t.Context(), fixture(t, "class.yaml", c)); err != nil {
		t.Fatal(err)
	}
	k := newCapiam(t, c)
	spec := k.spec("admin", fixture(t, "cluster-topology.yaml", c))

	_, stderr, err := k.try("create", "cluster", "-f", spec, "--wait=false")
	if err == nil {
		t.Fatalf("a class without the variable was taken:\n%s", stderr)
	}
	wantNothing(t, c)
	addToClass(t, c, snippetIn(t, stderr))

	k.run("create", "cluster", "-f", spec, "--wait=false")
	if err := c.WaitAvailable(within(t)); err != nil {
		t.Fatal(err)
	}
	machine, data := onlyControlPlaneMachine(t, c)
	wantAsking(t, c, machine, data)
	if got := cloudinit.ExtraArgs(kubeadm(t, data)["ClusterConfiguration"], "apiServer")["audit-log-maxage"]; len(got) != 1 || got[0] != "7" {
		t.Errorf("audit-log-maxage is %v", got)
	}
	kcp, err := c.ControlPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(kcp.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{webhookFlag, webhookInside, webhookFile, `"name":"authconfig"`} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("the KubeadmControlPlane has %q %d times, want once:\n%s", want, strings.Count(string(text), want), text)
		}
	}
	if plan := k.run("upgrade", "cluster", "-f", spec, "--dry-run"); strings.Contains(plan, "!") || strings.Contains(plan, "API servers") {
		t.Errorf("the same again would change\n%s", plan)
	}
}

// snippetIn finds in an error what is to be put into a ClusterClass.
func snippetIn(t *testing.T, text string) map[string][]any {
	t.Helper()
	_, snippet, found := strings.Cut(text, "\n\nspec:\n")
	if !found {
		t.Fatalf("no snippet in\n%s", text)
	}
	var lines []string
	for line := range strings.Lines("spec:\n" + snippet) {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "spec:") {
			lines = append(lines, line)
		}
	}
	var s struct {
		Spec map[string][]any `json:"spec"`
	}
	if err := yaml.UnmarshalStrict([]byte(strings.Join(lines, "")), &s); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Spec
}

// addToClass does with the cluster's class what the error says. The class's
// controller has to look at the variable before clusters may use it.
func addToClass(t *testing.T, c *cluster.Cluster, fields map[string][]any) {
	t.Helper()
	if len(fields["variables"]) != 2 || len(fields["patches"]) != 2 {
		t.Fatalf("snippet: %v", fields)
	}
	patch, err := json.Marshal(map[string]any{"spec": fields})
	if err != nil {
		t.Fatal(err)
	}
	class := &clusterv1.ClusterClass{}
	class.Namespace, class.Name = c.Namespace, c.Name
	if err := c.Management.Client.Patch(t.Context(), class, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	if got := class.Spec.Variables[0].Name; got != clusterapi.WebhookVariable {
		t.Errorf("variable %q, want %q", got, clusterapi.WebhookVariable)
	}
}
