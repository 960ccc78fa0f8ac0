//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/capiam/capiam/test/clusterapi/cluster"
)

// TestExisting is about a cluster that somebody else has made, and that is on the
// management cluster: IAM authentication is switched on, and off again.
func TestExisting(t *testing.T) {
	w := newWork(t, "existing", "clusterapi.yaml")
	took(t, "cluster without capiam: create with one control-plane node and one worker", func(ctx context.Context) error {
		manifests := fixture(t, "cluster.yaml", "NAMESPACE", w.Namespace, "NAME", w.Name)
		return errors.Join(w.Apply(ctx, manifests), w.WaitAvailable(ctx), nodesReady(ctx, w.Cluster, 2))
	})
	w.edit(t, "  files:\n    - cluster.yaml\n", "")
	before := controlPlaneNames(t, w.Cluster)
	took(t, "cluster without capiam: switch AWS IAM logins on, to the first", w.upgrade)
	on := controlPlaneNames(t, w.Cluster)
	if slices.Equal(before, on) {
		t.Errorf("machines are still %v", on)
	}
	w.checkDaemonSet(t, 1)
	w.checkLogins(t, "developer", "viewers")
	out, err := w.capiam(within(t), "upgrade", "cluster", "-f", "spec.yaml", "--dry-run")
	if err != nil || out != "" {
		t.Errorf("the same again would change %q (%v)", out, err)
	}

	users := filepath.Join(w.dir, w.Name, w.Name+"-aws.kubeconfig")
	kept, err := os.ReadFile(users)
	if err != nil {
		t.Fatal(err)
	}
	w.spec = string(fixture(t, "clusterapi.yaml", "NAMESPACE", w.Namespace, "NAME", w.Name))
	w.edit(t, "  files:\n    - cluster.yaml\n", "")
	w.edit(t, "  identityProviderRefs:\n    - kind: AWSIamConfig\n      name: "+w.Name+"-iam\n", "")
	took(t, "cluster without capiam: switch them off", func(ctx context.Context) error {
		_, err := w.capiam(ctx, "upgrade", "cluster", "-f", "spec.yaml", "--allow-lockout")
		return err
	})
	if err := nodesReady(within(t), w.Cluster, 2); err != nil {
		t.Fatal(err)
	}
	off := controlPlaneNames(t, w.Cluster)
	if slices.Equal(on, off) {
		t.Errorf("machines are still %v", off)
	}
	machine, err := w.e.Lab.Get(off[0])
	if err != nil {
		t.Fatal(err)
	}
	if left, err := machine.Output(within(t), "grep", "-r", "-l", "aws-iam-authenticator", "/etc/kubernetes/manifests"); err == nil {
		t.Errorf("the new machine has of the authenticator: %s", left)
	}
	err = w.Management.Wait(within(t), func(ctx context.Context) error {
		if pods, err := w.authenticatorPods(ctx); err == nil {
			return fmt.Errorf("the authenticator has %d pods", len(pods))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(users); err == nil {
		t.Errorf("%s is left", users)
	}
	w.write(t, "kept.kubeconfig", string(kept))
	if _, err := w.run(within(t), "admin", "kubectl", "--kubeconfig", "kept.kubeconfig", "get", "nodes"); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("a login by AWS IAM: %v, want Unauthorized", err)
	}
	took(t, "cluster without capiam: delete", w.Delete)
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
