package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/tree"
)

// DescribeManaged returns how a cluster that Cluster API keeps is, as a tree over
// both clusters: its objects and machines, and what is installed in it.
func (m *Manager) DescribeManaged(ctx context.Context, key types.NamespacedName) (*tree.Node, error) {
	c, err := m.managedByName(key)
	if err != nil {
		return nil, err
	}
	if c.state, err = c.mgmt.State(ctx, key); err != nil {
		return nil, err
	}
	root := &tree.Node{Name: "Cluster/" + key.Name, Detail: "namespace " + key.Namespace + " of " + c.mgmt.Context}
	objects, err := c.mgmt.Describe(ctx, key)
	if err != nil {
		return nil, err
	}
	objects.Name = "ClusterAPI"
	root.Parts = append(root.Parts, objects, c.describeIAM(ctx))
	ready := true
	for _, part := range root.Parts {
		ready = ready && (part.Ready == nil || *part.Ready)
	}
	root.Ready = &ready
	return root, nil
}

// describeIAM describes what logins by AWS IAM need.
func (c *managedCluster) describeIAM(ctx context.Context) tree.Node {
	n := tree.Node{Name: "AWSIAM", Ready: tree.Is(false)}
	keys, err := c.mgmt.FindKeys(ctx, c.key)
	switch {
	case errors.Is(err, clusterapi.ErrNotFound):
		return tree.Node{Name: "AWSIAM", Detail: "not switched on; `capiam upgrade cluster` does it"}
	case err != nil:
		n.Detail = err.Error()
		return n
	}
	c.keys = keys
	n.Detail = "cluster ID " + keys.ClusterID
	n.Parts = append(n.Parts, c.describeSetup(ctx))
	connectCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.reachWorkload(connectCtx); err != nil {
		n.Parts = append(n.Parts, tree.Node{Name: "Workload", Ready: tree.Is(false), Detail: err.Error()})
		return n
	}
	n.Parts = append(n.Parts, c.describeWebhookLive(ctx), c.describeDaemonSet(ctx), c.describeCertificate(ctx), c.describeLiveMappings(ctx))
	ready := true
	for _, part := range n.Parts {
		ready = ready && (part.Ready == nil || *part.Ready)
	}
	n.Ready = &ready
	return n
}

// describeSetup says whether new control-plane machines ask the authenticator.
func (c *managedCluster) describeSetup(ctx context.Context) tree.Node {
	n := tree.Node{Name: "APIServers", Ready: tree.Is(false)}
	_, setup, err := c.setup(ctx)
	if err != nil {
		n.Detail = err.Error()
		return n
	}
	n.Ready = tree.Is(setup.Suffices())
	n.Detail = "token webhook " + setup.String()
	return n
}

func (c *managedCluster) describeWebhookLive(ctx context.Context) tree.Node {
	n := tree.Node{Name: "Webhook", Ready: tree.Is(true), Detail: "the API server is answered by the authenticator"}
	if err := c.installer.CheckWebhook(ctx); err != nil {
		n.Ready, n.Detail = tree.Is(false), err.Error()
	}
	return n
}

func (c *managedCluster) describeDaemonSet(ctx context.Context) tree.Node {
	n := tree.Node{Name: "Authenticator", Ready: tree.Is(false)}
	r, done, err := c.installer.Readiness(ctx)
	if err != nil {
		n.Detail = err.Error()
		return n
	}
	n.Ready = tree.Is(done && r.Desired > 0)
	n.Detail = fmt.Sprintf("DaemonSet kube-system/aws-iam-authenticator, ready on %d of %d nodes", r.Ready, r.Desired)
	for _, problem := range r.Problems {
		n.Parts = append(n.Parts, tree.Node{Name: problem, Ready: tree.Is(false)})
	}
	return n
}

func (c *managedCluster) describeCertificate(ctx context.Context) tree.Node {
	n := tree.Node{Name: "Certificate", Ready: tree.Is(false)}
	live, err := c.installer.Live(ctx)
	if err == nil {
		leaf := pki.AuthenticatorLeaf()
		names := slices.Clone(leaf.DNSNames)
		for _, ip := range leaf.IPs {
			names = append(names, ip.String())
		}
		cert, verifyErr := pki.Verify(live.Leaf.CertPEM, c.keys.CA.CertPEM, names, c.m.now())
		if verifyErr == nil {
			n.Ready = tree.Is(true)
			n.Detail = fmt.Sprintf("until %s, renewed from %s; its CA until %s", cert.NotAfter.Format(time.DateOnly),
				pki.RenewAt(cert).Format(time.DateOnly), c.keys.CA.Cert.NotAfter.Format(time.DateOnly))
			if !c.m.now().Before(pki.RenewAt(cert)) {
				n.Detail += "; due now, `capiam upgrade cluster` renews it"
			}
			return n
		}
		err = verifyErr
	}
	n.Detail = err.Error()
	return n
}

func (c *managedCluster) describeLiveMappings(ctx context.Context) tree.Node {
	modes, err := c.installer.Backends(ctx)
	if err != nil {
		return tree.Node{Name: "Mappings", Ready: tree.Is(false), Detail: err.Error()}
	}
	return describeMappings(ctx, c.installer, modes)
}

// ManagedMappings returns who may log in to a cluster that Cluster API keeps, as
// it is now.
func (m *Manager) ManagedMappings(ctx context.Context, key types.NamespacedName) ([]install.Mapping, error) {
	c, err := m.managedByName(key)
	if err != nil {
		return nil, err
	}
	if err := c.reachWorkload(ctx); err != nil {
		return nil, err
	}
	modes, err := c.installer.Backends(ctx)
	if err != nil {
		return nil, err
	}
	return c.installer.Mappings(ctx, modes)
}

// describeMappings says who may log in, in numbers, and what is wrong with it.
func describeMappings(ctx context.Context, i *install.Installer, modes []string) tree.Node {
	n := tree.Node{Name: "Mappings", Ready: tree.Is(false)}
	entries, err := i.Mappings(ctx, modes)
	var wrong []string
	if err == nil && slices.Contains(modes, mapping.BackendEKSConfigMap) {
		wrong, err = i.CheckAWSAuth(ctx)
	}
	if err != nil {
		n.Detail = err.Error()
		return n
	}
	count := map[string]int{}
	foreign := 0
	for _, e := range entries {
		count[e.Section]++
		if !e.Managed {
			foreign++
		}
	}
	n.Ready = tree.Is(len(wrong) == 0)
	for _, line := range wrong {
		n.Parts = append(n.Parts, tree.Node{Name: line, Ready: tree.Is(false)})
	}
	n.Detail = fmt.Sprintf("%d roles, %d users, %d accounts", count[mapping.MapRoles], count[mapping.MapUsers], count[mapping.MapAccounts])
	if foreign > 0 {
		n.Detail += fmt.Sprintf(", %d of them other writers'", foreign)
	}
	if len(modes) > 0 {
		n.Detail += " (" + strings.Join(modes, ", ") + ")"
	}
	return n
}

// ListManaged returns a line about every cluster of a management cluster, or of
// one of its namespaces, for which IAM authentication is kept.
func (m *Manager) ListManaged(ctx context.Context, namespace string) ([]Summary, error) {
	mgmt, err := clusterapi.Connect(m.Management)
	if err != nil {
		return nil, err
	}
	states, err := mgmt.Clusters(ctx, namespace)
	if err != nil {
		return nil, err
	}
	summaries := make([]Summary, 0, len(states))
	for _, s := range states {
		c := m.managedAt(mgmt, types.NamespacedName{Namespace: s.Cluster.Namespace, Name: s.Cluster.Name}, Outputs{})
		c.state = s
		summary := Summary{
			Name: s.Cluster.Name, Namespace: s.Cluster.Namespace, Provider: s.Cluster.Spec.InfrastructureRef.Kind,
			Status: s.Cluster.Status.Phase, Created: s.Cluster.CreationTimestamp.Time,
		}
		if s.ControlPlane != nil {
			summary.Kubernetes = s.ControlPlane.Spec.Version
		}
		if s.Cluster.Spec.ControlPlaneEndpoint.IsValid() {
			summary.Server = c.server()
		}
		summaries = append(summaries, summary)
	}
	return summaries, nil
}
