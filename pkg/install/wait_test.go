package install

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	kubetesting "k8s.io/client-go/testing"
)

func daemonSet(status appsv1.DaemonSetStatus) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-iam-authenticator", Generation: 2},
		Status:     status,
	}
}

func pod(status corev1.PodStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "p", Labels: map[string]string{"k8s-app": "aws-iam-authenticator"}},
		Spec:       corev1.PodSpec{NodeName: "n"},
		Status:     status,
	}
}

var node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}

func TestReadiness(t *testing.T) {
	t.Parallel()
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}}
	}
	half := appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 2, UpdatedNumberScheduled: 2, NumberReady: 1, NumberUnavailable: 1}
	for _, tt := range []struct {
		name    string
		objects []runtime.Object
		done    bool
		problem string
	}{
		{"all ready", []runtime.Object{node, daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 2, UpdatedNumberScheduled: 2, NumberReady: 2})}, true, ""},
		{"no nodes and no controller", []runtime.Object{daemonSet(appsv1.DaemonSetStatus{})}, true, ""},
		{"nodes, and the controller has not looked", []runtime.Object{node, daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 1})}, false, ""},
		{"old pods", []runtime.Object{node, daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 2, UpdatedNumberScheduled: 1, NumberReady: 2})}, false, ""},
		{"an image that is not there", []runtime.Object{node, daemonSet(half), pod(waiting("ImagePullBackOff", "not found"))}, false, "pod p on node n: ImagePullBackOff: not found"},
		{"a crash", []runtime.Object{node, daemonSet(half), pod(corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}},
		}}})}, false, "exited with 1: Error"},
		{"an image that is not there for an init container", []runtime.Object{node, daemonSet(half), pod(corev1.PodStatus{
			InitContainerStatuses: waiting("ImagePullBackOff", "not found").ContainerStatuses,
			ContainerStatuses:     waiting("PodInitializing", "").ContainerStatuses,
		})}, false, "pod p on node n: ImagePullBackOff: not found"},
		{"a crash after an init container", []runtime.Object{node, daemonSet(half), pod(corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}}},
			ContainerStatuses:     waiting("CrashLoopBackOff", "").ContainerStatuses,
		})}, false, "CrashLoopBackOff"},
		{"no place", []runtime.Object{node, daemonSet(half), pod(corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no port"},
		}})}, false, "Unschedulable: no port"},
		{"a pod that is ready", []runtime.Object{node, daemonSet(half), pod(corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue},
		}})}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i, _ := offline(tt.objects...)
			r, done, err := i.Readiness(t.Context())
			if err != nil || done != tt.done {
				t.Fatalf("done %v, %v", done, err)
			}
			if got := strings.Join(r.Problems, ";"); !strings.Contains(got, tt.problem) || tt.problem == "" && got != "" {
				t.Errorf("problems %q, want %q", got, tt.problem)
			}
		})
	}
}

func TestWaitReadySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	i, _ := offline(node, daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 2}),
		pod(corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}}))
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	err := i.WaitReady(ctx, 0, func(r Readiness) { told++; cancel() })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), "CrashLoopBackOff") || told != 1 {
		t.Errorf("told %d times, error %v", told, err)
	}
}

func TestWaitReadyOutlastsBrokenConnections(t *testing.T) {
	t.Parallel()
	i, kube := offline(daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2}))
	failures := 3
	kube.PrependReactor("get", "daemonsets", func(kubetesting.Action) (bool, runtime.Object, error) {
		if failures--; failures >= 0 {
			return true, nil, errors.New("connection refused")
		}
		return false, nil, nil
	})
	if err := i.WaitReady(t.Context(), 0, nil); err != nil {
		t.Error(err)
	}
	i, _ = offline()
	if err := i.WaitReady(t.Context(), 0, nil); !apierrors.IsNotFound(err) {
		t.Errorf("without a DaemonSet: %v", err)
	}
}

func TestWarningsAreLogged(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := warnings{slog.New(slog.NewTextHandler(&b, nil))}
	w.HandleWarningHeader(299, "-", "deprecated")
	w.HandleWarningHeader(299, "-", "")
	w.HandleWarningHeader(100, "-", "other")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "warning=deprecated") {
		t.Errorf("logged %q", got)
	}
}

func TestNewLeavesTheConfigAlone(t *testing.T) {
	t.Parallel()
	cfg := &rest.Config{Host: "https://192.0.2.1"}
	i, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Timeout != 0 || cfg.WarningHandler != nil || i.config.Timeout == 0 {
		t.Error("the caller's configuration was changed, or none was made")
	}
	if _, err := New(&rest.Config{Host: "https://192.0.2.1", TLSClientConfig: rest.TLSClientConfig{CAFile: "/none"}}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error for a CA that is not there")
	}
	namespace, _, err := getter{i, "kube-system"}.ToRawKubeConfigLoader().Namespace()
	if err != nil || namespace != "kube-system" {
		t.Errorf("helm's namespace %q, %v", namespace, err)
	}
	if i.poll <= 0 {
		t.Error("polls without a pause")
	}
}
