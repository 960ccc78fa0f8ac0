package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/render"
)

// podSelector finds the authenticator's pods. It is the DaemonSet's.
const podSelector = "k8s-app=aws-iam-authenticator"

// Readiness is how far the authenticator's pods are.
type Readiness struct {
	// Desired is on how many nodes a pod should run, Ready on how many the
	// current one does.
	Desired, Ready int
	// Problems says of each pod that is not ready why, as far as is known.
	Problems []string
}

// WaitReady waits until the authenticator runs on every node it should run on,
// as long as ctx lets it. A cluster without nodes has nothing to wait for.
// It is not content with fewer than atLeast nodes. progress, if not nil, is called
// whenever the state has changed. An error says which pods are not ready and why.
func (i *Installer) WaitReady(ctx context.Context, atLeast int, progress func(Readiness)) error {
	var last Readiness
	told := false
	for {
		now, done, err := i.Readiness(ctx)
		switch {
		case err == nil:
			if progress != nil && (!told || !equalReadiness(now, last)) {
				progress(now)
			}
			last, told = now, true
			if done && now.Desired < atLeast {
				done = false
				last.Problems = append(last.Problems, fmt.Sprintf("it wants to run on %d nodes, and the control plane has %d: look at their labels and taints", now.Desired, atLeast))
			}
			if done {
				return nil
			}
		case ctx.Err() != nil:
			// The state before says more than that the time was up.
		case transient(err):
			i.log.Debug("cannot read the authenticator's state, will look again", "err", err)
		default:
			return err
		}
		if err := i.sleep(ctx); err != nil {
			return notReady(last, told, err)
		}
	}
}

func notReady(r Readiness, known bool, err error) error {
	if !known {
		return fmt.Errorf("wait for DaemonSet %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	text := ""
	if len(r.Problems) > 0 {
		text = ": " + strings.Join(r.Problems, "; ")
	}
	return fmt.Errorf("DaemonSet %s/%s is ready on %d of %d nodes%s: %w",
		render.Namespace, render.ReleaseName, r.Ready, r.Desired, text, err)
}

// Readiness is how far the pods are, and whether that is all the way.
func (i *Installer) Readiness(ctx context.Context) (Readiness, bool, error) {
	ds, err := i.kube.AppsV1().DaemonSets(render.Namespace).Get(ctx, render.ReleaseName, metav1.GetOptions{})
	if err != nil {
		return Readiness{}, false, fmt.Errorf("read DaemonSet %s/%s: %w", render.Namespace, render.ReleaseName, err)
	}
	s := ds.Status
	r := Readiness{Desired: int(s.DesiredNumberScheduled), Ready: int(min(s.NumberReady, s.UpdatedNumberScheduled))}
	if rolledOut(ds) {
		return r, true, nil
	}
	if s.DesiredNumberScheduled == 0 {
		// A control plane without nodes may have no controller for DaemonSets
		// either, which would say that it wants no pods.
		nodes, err := i.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return Readiness{}, false, fmt.Errorf("list nodes: %w", err)
		}
		if len(nodes.Items) == 0 {
			return r, true, nil
		}
	}
	pods, err := i.kube.CoreV1().Pods(render.Namespace).List(ctx, metav1.ListOptions{LabelSelector: podSelector})
	if err != nil {
		return Readiness{}, false, fmt.Errorf("list pods %s in %s: %w", podSelector, render.Namespace, err)
	}
	for _, p := range pods.Items {
		if why := problem(&p); why != "" {
			r.Problems = append(r.Problems, fmt.Sprintf("pod %s on node %s: %s", p.Name, p.Spec.NodeName, why))
		}
	}
	slices.Sort(r.Problems)
	return r, false, nil
}

// rolledOut tells whether the current pod is ready on each node. Where two are on
// one node, the status speaks of the older.
func rolledOut(ds *appsv1.DaemonSet) bool {
	s := ds.Status
	return s.ObservedGeneration >= ds.Generation &&
		s.UpdatedNumberScheduled >= s.DesiredNumberScheduled &&
		s.NumberReady >= s.DesiredNumberScheduled &&
		s.NumberUnavailable == 0
}

// problem says why a pod is not ready; it is empty if it is.
func problem(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	// Until init containers are done, the others only wait for them.
	for _, c := range p.Status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode == 0 {
			continue
		}
		if why := stopped(c.State); why != "" {
			return why
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if why := stopped(c.State); why != "" {
			return why
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	return "not ready"
}

// stopped says why a container does not run; it is empty if it does.
func stopped(s corev1.ContainerState) string {
	if w := s.Waiting; w != nil && w.Reason != "" {
		return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
	}
	if t := s.Terminated; t != nil {
		return fmt.Sprintf("exited with %d: %s", t.ExitCode, t.Reason)
	}
	return ""
}

func equalReadiness(a, b Readiness) bool {
	return a.Desired == b.Desired && a.Ready == b.Ready && slices.Equal(a.Problems, b.Problems)
}

// transient tells whether an error may go away by itself: while control planes
// roll, connections break.
func transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}
