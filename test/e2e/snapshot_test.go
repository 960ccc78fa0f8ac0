//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// savedMappings is where a node keeps them, as the chart has it.
const savedMappings = "/var/lib/capiam-authenticator/mappings/aws-auth.last-good.json"

// checkSnapshotOutlivesPod replaces the authenticator's pods while the developer's
// entry in aws-auth is damaged: the new ones never see it whole. It mends the entry.
func (w *work) checkSnapshotOutlivesPod(t *testing.T, developer string, groups ...string) {
	t.Helper()
	before := w.pods(t)
	for node := range before {
		w.checkSaved(t, node)
	}
	good := "username: " + developer
	damaged := "username: [" + developer + "]"
	w.editMapUsers(t, good, damaged)
	const daemonSet = "daemonset/aws-iam-authenticator"
	if _, err := w.kubectl(within(t), "admin", "--namespace", "kube-system", "rollout", "restart", daemonSet); err != nil {
		t.Fatal(err)
	}
	if err := w.Management.Wait(within(t), func(ctx context.Context) error { return w.replaced(ctx, before) }); err != nil {
		t.Fatal(err)
	}
	if err := w.expect(within(t), "developer", developer, groups...); err != nil {
		t.Errorf("a damaged entry, and a new pod: %v", err)
	}
	w.editMapUsers(t, damaged, good)
}

// checkSaved checks that a node has the last good mappings, which are the
// authenticator's alone.
func (w *work) checkSaved(t *testing.T, node string) {
	t.Helper()
	machine, err := w.e.Lab.Get(node)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(machine.Disk(savedMappings))
	if err != nil {
		t.Errorf("the last good mappings are not on node %s: %v", node, err)
		return
	}
	if info.Mode() != 0o600 {
		t.Errorf("node %s: %s has mode %s", node, savedMappings, info.Mode())
	}
}

// editMapUsers edits aws-auth as somebody does by hand.
func (w *work) editMapUsers(t *testing.T, old, now string) {
	t.Helper()
	ctx := within(t)
	workload, err := w.Workload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{}
	if err := workload.Get(ctx, types.NamespacedName{Namespace: "kube-system", Name: "aws-auth"}, cm); err != nil {
		t.Fatal(err)
	}
	text := cm.Data["mapUsers"]
	if strings.Count(text, old) != 1 {
		t.Fatalf("mapUsers has not one %q:\n%s", old, text)
	}
	cm.Data["mapUsers"] = strings.Replace(text, old, now, 1)
	if err := workload.Update(ctx, cm); err != nil {
		t.Fatal(err)
	}
}

// replaced is nil once none of the pods that were is left, not even one that is
// about to end, and others are ready in their place.
func (w *work) replaced(ctx context.Context, before map[string]corev1.Pod) error {
	workload, err := w.Workload(ctx)
	if err != nil {
		return err
	}
	pods := &corev1.PodList{}
	if err := workload.List(ctx, pods, client.InNamespace("kube-system"), client.MatchingLabels{"k8s-app": "aws-iam-authenticator"}); err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if before[pod.Spec.NodeName].UID == pod.UID {
			return fmt.Errorf("pod %s is still there", pod.Name)
		}
		if len(pod.Status.ContainerStatuses) != 1 || !pod.Status.ContainerStatuses[0].Ready {
			return fmt.Errorf("pod %s is not ready", pod.Name)
		}
	}
	if len(pods.Items) != len(before) {
		return errors.New("not every pod has another in its place")
	}
	return nil
}
