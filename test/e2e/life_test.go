//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// probeInterval is how often somebody logs in while something is done to the
// cluster.
const probeInterval = 250 * time.Millisecond

// TestLife is the life of a cluster with one control-plane node: created, who
// may log in changed, certificate renewed, node replaced, deleted.
func TestLife(t *testing.T) {
	w := newWork(t, "life", "docker.yaml")
	took(t, "one control-plane node, one worker: create, to the first login", w.create)
	if err := nodesReady(within(t), w.Cluster, 2); err != nil {
		t.Fatal(err)
	}
	w.checkDaemonSet(t, 1)
	w.checkLogins(t, "developer", "viewers")
	w.checkCertificate(t)
	w.checkAgain(t)

	machines := controlPlaneNames(t, w.Cluster)
	pods := w.pods(t)
	t.Run("mapping changed", func(t *testing.T) {
		stop := w.probe(t, "while the mapping is changed")
		w.edit(t, "username: developer\n      groups:\n        - viewers", "username: dev\n      groups:\n        - viewers\n        - testers")
		took(t, "change a mapping, to a login that shows it", func(ctx context.Context) error {
			if err := w.upgrade(ctx); err != nil {
				return err
			}
			return w.expect(ctx, "developer", "dev", "viewers", "testers")
		})
		stop()
		w.checkLogins(t, "dev", "viewers", "testers")
	})
	t.Run("certificate renewed", func(t *testing.T) {
		stop := w.probe(t, "while the certificate is renewed")
		w.renew(t)
		stop()
	})
	if now := controlPlaneNames(t, w.Cluster); !slices.Equal(now, machines) {
		t.Errorf("control-plane machines were replaced: %v, now %v", machines, now)
	}
	w.checkSamePods(t, pods)

	t.Run("authenticator replaced", func(t *testing.T) {
		stop := w.probe(t, "while the authenticator is replaced")
		w.edit(t, "  client:\n", "  tokenIssuers:\n    - issuerURL: https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws\n      accountID: \"111122223333\"\n  client:\n")
		took(t, "change the authenticator's configuration, to a new pod alone", w.upgrade)
		stop()
		for node, pod := range w.pods(t) {
			if pod.UID == pods[node].UID {
				t.Errorf("node %s has the old pod", node)
			}
		}
		w.checkLogins(t, "dev", "viewers", "testers")
		w.checkSnapshotOutlivesPod(t, "dev", "viewers", "testers")
		w.checkLogins(t, "dev", "viewers", "testers")
	})

	t.Run("rolled", func(t *testing.T) {
		stop := w.probe(t, "while the only control-plane node is replaced")
		took(t, "one control-plane node: replace it", w.roll)
		stop()
		w.logStarts(t)
		if now := controlPlaneNames(t, w.Cluster); slices.Equal(now, machines) {
			t.Errorf("machines are still %v", now)
		}
		w.checkDaemonSet(t, 1)
		w.checkLogins(t, "dev", "viewers", "testers")
	})
	took(t, "one control-plane node: delete", func(ctx context.Context) error {
		_, err := w.capiam(ctx, "delete", "cluster", w.Name, "-n", w.Namespace)
		return err
	})
}

// TestThree is about a control plane of three: each of its API servers asks the
// authenticator on its own node.
func TestThree(t *testing.T) {
	w := newWork(t, "three", "clusterapi.yaml")
	w.write(t, "cluster.yaml", strings.Replace(
		string(fixture(t, "cluster.yaml", "NAMESPACE", w.Namespace, "NAME", w.Name)),
		"  replicas: 1\n  version: v1.36.3\n  machineTemplate", "  replicas: 3\n  version: v1.36.3\n  machineTemplate", 1))
	took(t, "three control-plane nodes, one worker: create, to the first login", w.create)
	if err := nodesReady(within(t), w.Cluster, 4); err != nil {
		t.Fatal(err)
	}
	w.checkDaemonSet(t, 3)
	w.checkLogins(t, "developer", "viewers")

	t.Run("rolled", func(t *testing.T) {
		stop := w.probe(t, "while three control-plane nodes are replaced")
		took(t, "three control-plane nodes: replace them", w.roll)
		stop()
		w.checkDaemonSet(t, 3)
	})
	t.Run("one killed", func(t *testing.T) {
		names := controlPlaneNames(t, w.Cluster)
		stop := w.probe(t, "while one of three control-plane nodes is killed and replaced")
		took(t, "three control-plane nodes: kill one, to three again", func(ctx context.Context) error {
			return w.replaceKilled(ctx, names[0])
		})
		stop()
		w.checkDaemonSet(t, 3)
		w.checkLogins(t, "developer", "viewers")
	})
	took(t, "three control-plane nodes: delete", func(ctx context.Context) error {
		_, err := w.capiam(ctx, "delete", "cluster", w.Name, "-n", w.Namespace)
		return err
	})
}

// checkDaemonSet checks that the authenticator, as `make image` made it, is ready
// on each control-plane node.
func (w *work) checkDaemonSet(t *testing.T, nodes int) {
	t.Helper()
	var pods map[string]corev1.Pod
	err := w.Management.Wait(within(t), func(ctx context.Context) (err error) {
		if pods, err = w.authenticatorPods(ctx); err != nil {
			return err
		}
		if len(pods) != nodes {
			return fmt.Errorf("the authenticator runs on %d nodes", len(pods))
		}
		for _, name := range controlPlaneNames(t, w.Cluster) {
			pod, there := pods[name]
			if !there || len(pod.Status.ContainerStatuses) != 1 || !pod.Status.ContainerStatuses[0].Ready {
				return fmt.Errorf("the authenticator is not ready on %s", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	digest := authenticator(t).digest
	for node, pod := range pods {
		if id := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, digest) {
			t.Errorf("node %s runs %s, want %s", node, id, digest)
		}
	}
}

// checkLogins logs in by kubectl with the users' kubeconfig.
func (w *work) checkLogins(t *testing.T, developer string, groups ...string) {
	t.Helper()
	ctx := within(t)
	if err := w.expect(ctx, "admin", "admin", "system:masters"); err != nil {
		t.Error(err)
	}
	if err := w.expect(ctx, "developer", developer, groups...); err != nil {
		t.Error(err)
	}
	if _, err := w.kubectl(ctx, "developer", "get", "pods", "-A"); err != nil {
		t.Errorf("who is mapped to viewers may not look: %v", err)
	}
	if out, err := w.kubectl(ctx, "developer", "auth", "can-i", "delete", "pods", "-A"); err == nil {
		t.Errorf("who is mapped to viewers may delete pods: %s", out)
	}
	_, err := w.kubectl(ctx, "stranger", "get", "pods", "-A")
	if err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("a stranger's login: %v, want Unauthorized", err)
	}
}

// expect is nil if a profile logs in as a user with the groups.
func (w *work) expect(ctx context.Context, profile, user string, groups ...string) error {
	got, in, err := w.whoami(ctx, profile)
	if err != nil {
		return err
	}
	want := append(slices.Clone(groups), "system:authenticated")
	slices.Sort(want)
	slices.Sort(in)
	if got != user || !slices.Equal(in, want) {
		return fmt.Errorf("profile %s is %s in %v, want %s in %v", profile, got, in, user, want)
	}
	return nil
}

// checkAgain checks that a second create changes nothing.
func (w *work) checkAgain(t *testing.T) {
	t.Helper()
	before, err := w.ControlPlane(within(t))
	if err != nil {
		t.Fatal(err)
	}
	took(t, "create again, with nothing to do", w.create)
	after, err := w.ControlPlane(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if before.Generation != after.Generation {
		t.Errorf("a second create changed the KubeadmControlPlane: generation %d, now %d", before.Generation, after.Generation)
	}
}

// roll has Cluster API replace all control-plane machines, as `clusterctl alpha
// rollout restart` does.
func (w *work) roll(ctx context.Context) error {
	kcp, err := w.ControlPlane(ctx)
	if err != nil {
		return err
	}
	old := kcp.DeepCopy()
	kcp.Spec.Rollout.After = metav1.Now()
	if err := w.Management.Client.Patch(ctx, kcp, client.MergeFrom(old)); err != nil {
		return err
	}
	// The time is of whole seconds, and machines are old that are older.
	names := map[string]bool{}
	for _, machine := range errorless(w.Machines(ctx, true)) {
		names[machine.Name] = true
	}
	return w.Management.Wait(ctx, func(ctx context.Context) error {
		machines, err := w.Machines(ctx, true)
		if err != nil {
			return err
		}
		for _, machine := range machines {
			if names[machine.Name] {
				return fmt.Errorf("machine %s is still there", machine.Name)
			}
		}
		return w.WaitRolledOut(ctx)
	})
}

func errorless[T any](value T, _ error) T { return value }

// replaceKilled ends a node as a power cut would, lets logins go on without it,
// and has Cluster API replace its machine.
func (w *work) replaceKilled(ctx context.Context, name string) error {
	node, err := w.e.Lab.Get(name)
	if err != nil {
		return err
	}
	if err := node.Kill(); err != nil {
		return err
	}
	machines, err := w.Machines(ctx, true)
	if err != nil {
		return err
	}
	for _, machine := range machines {
		if machine.Name == name {
			err = errors.Join(err, w.Management.Client.Delete(ctx, &machine))
		}
	}
	if err != nil {
		return err
	}
	return w.Management.Wait(ctx, func(ctx context.Context) error {
		machines, err := w.Machines(ctx, true)
		if err != nil {
			return err
		}
		for _, machine := range machines {
			if machine.Name == name {
				return fmt.Errorf("machine %s is still there", name)
			}
		}
		return w.WaitRolledOut(ctx)
	})
}

func (w *work) pods(t *testing.T) map[string]corev1.Pod {
	t.Helper()
	pods, err := w.authenticatorPods(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// checkSamePods checks that the authenticator was not restarted.
func (w *work) checkSamePods(t *testing.T, before map[string]corev1.Pod) {
	t.Helper()
	after := w.pods(t)
	if !slices.Equal(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))) {
		t.Errorf("the authenticator's nodes: %v, now %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	for node, pod := range before {
		now := after[node]
		if now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("node %s: the authenticator was restarted (%d times) or replaced", node, now.Status.ContainerStatuses[0].RestartCount)
		}
	}
}

// logStarts tells when things happened on each control-plane node, by the
// workload cluster's own clock of whole seconds.
func (w *work) logStarts(t *testing.T) {
	t.Helper()
	workload, err := w.Workload(within(t))
	if err != nil {
		t.Error(err)
		return
	}
	pods := &corev1.PodList{}
	if err := workload.List(within(t), pods, client.InNamespace("kube-system")); err != nil {
		t.Error(err)
		return
	}
	for _, node := range controlPlaneNames(t, w.Cluster) {
		for _, pod := range pods.Items {
			own := strings.HasPrefix(pod.Name, "kube-apiserver-") || strings.HasPrefix(pod.Name, "aws-iam-authenticator-")
			if pod.Spec.NodeName != node || !own {
				continue
			}
			line := fmt.Sprintf("%s on %s: created %s", pod.Name, node, pod.CreationTimestamp.UTC().Format(time.TimeOnly))
			for _, status := range pod.Status.ContainerStatuses {
				if running := status.State.Running; running != nil {
					line += ", running " + running.StartedAt.UTC().Format(time.TimeOnly)
				}
			}
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodReady {
					line += ", ready " + condition.LastTransitionTime.UTC().Format(time.TimeOnly)
				}
			}
			t.Log(line)
		}
	}
}
