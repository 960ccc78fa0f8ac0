//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// TestPlainCluster is about the environment itself, without capiam: nodes are
// real, and what is changed about a control plane rolls it.
func TestPlainCluster(t *testing.T) {
	e, c := newCluster(t, "plain")
	manifests := fixture(t, "cluster.yaml", "NAMESPACE", c.Namespace, "NAME", c.Name)
	took(t, "plain cluster: create with one control-plane node and one worker", func(ctx context.Context) error {
		return errors.Join(c.Apply(ctx, manifests), c.WaitAvailable(ctx), nodesReady(ctx, c, 2))
	})
	before := controlPlaneNames(t, c)
	took(t, "plain cluster: roll the control-plane node", func(ctx context.Context) error {
		kcp, err := c.ControlPlane(ctx)
		if err != nil {
			return err
		}
		old := kcp.DeepCopy()
		value := "7"
		kcp.Spec.KubeadmConfigSpec.ClusterConfiguration.APIServer.ExtraArgs = []bootstrapv1.Arg{{Name: "audit-log-maxage", Value: &value}}
		if err := e.Management.Client.Patch(ctx, kcp, client.MergeFrom(old)); err != nil {
			return err
		}
		return errors.Join(c.WaitRolledOut(ctx), nodesReady(ctx, c, 2))
	})
	after := controlPlaneNames(t, c)
	if slices.Equal(before, after) {
		t.Errorf("machines are still %v", after)
	}
	machine, err := e.Lab.Get(after[0])
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := machine.Output(within(t), "grep", "-c", "audit-log-maxage=7", "/etc/kubernetes/manifests/kube-apiserver.yaml")
	if err != nil {
		t.Errorf("the new node's API server has not the flag: %v %s", err, manifest)
	}
	took(t, "plain cluster: delete", c.Delete)
}

func controlPlaneNames(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	machines, err := c.Machines(within(t), true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, machine := range machines {
		names = append(names, machine.Name)
	}
	return names
}

// nodesReady waits until a cluster has so many nodes, all ready.
func nodesReady(ctx context.Context, c *cluster.Cluster, count int) error {
	return c.Management.Wait(ctx, func(ctx context.Context) error {
		workload, err := c.Workload(ctx)
		if err != nil {
			return err
		}
		nodes := &corev1.NodeList{}
		if err := workload.List(ctx, nodes); err != nil {
			return err
		}
		if len(nodes.Items) != count {
			return fmt.Errorf("%d nodes", len(nodes.Items))
		}
		for _, node := range nodes.Items {
			ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			})
			if !ready {
				return fmt.Errorf("node %s is not ready", node.Name)
			}
		}
		return nil
	})
}
