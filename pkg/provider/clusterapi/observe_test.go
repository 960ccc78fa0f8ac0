package clusterapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/capiam/capiam/pkg/progress"
)

// began is when the clusters of these tests were made.
var began = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func seconds(n int) metav1.Time { return metav1.NewTime(began.Add(time.Duration(n) * time.Second)) }

// observed returns a cluster with a control plane of one machine, as it is when
// all is well, changed.
func observed(change ...func(*State)) *State {
	s := &State{
		Cluster: &clusterv1.Cluster{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "demo", Generation: 1},
			Spec: clusterv1.ClusterSpec{
				InfrastructureRef:    clusterv1.ContractVersionedObjectReference{APIGroup: "infrastructure.cluster.x-k8s.io", Kind: "DockerCluster", Name: "demo"},
				ControlPlaneRef:      clusterv1.ContractVersionedObjectReference{APIGroup: controlplanev1.GroupVersion.Group, Kind: "KubeadmControlPlane", Name: "demo-cp"},
				ControlPlaneEndpoint: clusterv1.APIEndpoint{Host: "fd00::1", Port: 6443},
			},
			Status: clusterv1.ClusterStatus{Phase: "Provisioned"},
		},
		ControlPlane: &controlplanev1.KubeadmControlPlane{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "demo-cp", Generation: 3},
			Status:     controlplanev1.KubeadmControlPlaneStatus{ObservedGeneration: 3},
		},
	}
	yes := true
	s.ControlPlane.Status.Initialization.ControlPlaneInitialized = &yes
	is(s.Cluster, clusterv1.ClusterInfrastructureReadyCondition, "True", "Ready", "")
	is(s.Cluster, clusterv1.ClusterAvailableCondition, "True", "Available", "")
	is(s.ControlPlane, controlplanev1.KubeadmControlPlaneAvailableCondition, "True", "Available", "")
	is(s.ControlPlane, controlplanev1.KubeadmControlPlaneRollingOutCondition, "False", "NotRollingOut", "")
	number(1, 1, 1, 1)(s)
	machine("demo-cp-a")(s)
	for _, f := range change {
		f(s)
	}
	return s
}

func is(o conditions.Setter, condition, status, reason, message string) {
	conditions.Set(o, metav1.Condition{Type: condition, Status: metav1.ConditionStatus(status), Reason: reason, Message: message, LastTransitionTime: seconds(70)})
}

// number sets how many machines are wanted, there, ready and up to date.
func number(desired, replicas, ready, upToDate int32) func(*State) {
	return func(s *State) {
		s.ControlPlane.Spec.Replicas = &desired
		s.ControlPlane.Status.Replicas = &replicas
		s.ControlPlane.Status.ReadyReplicas = &ready
		s.ControlPlane.Status.UpToDateReplicas = &upToDate
	}
}

// machine adds a machine that is well, changed.
func machine(name string, change ...func(*clusterv1.Machine)) func(*State) {
	return func(s *State) {
		m := clusterv1.Machine{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name, CreationTimestamp: seconds(0)},
			Spec: clusterv1.MachineSpec{
				Version:           "v1.36.3",
				InfrastructureRef: clusterv1.ContractVersionedObjectReference{Kind: "DockerMachine", Name: name},
				Bootstrap:         clusterv1.Bootstrap{ConfigRef: clusterv1.ContractVersionedObjectReference{Kind: "KubeadmConfig", Name: name}},
			},
			Status: clusterv1.MachineStatus{Phase: "Running", LastUpdated: seconds(45), NodeRef: clusterv1.MachineNodeReference{Name: "node-" + name}},
		}
		is(&m, clusterv1.MachineInfrastructureReadyCondition, "True", "Ready", "")
		is(&m, clusterv1.MachineReadyCondition, "True", "Ready", "")
		is(&m, clusterv1.MachineUpToDateCondition, "True", "UpToDate", "")
		for _, f := range change {
			f(&m)
		}
		s.Machines = append(s.Machines, m)
	}
}

func noMachines(s *State) { s.Machines = nil }
func deleted(m *clusterv1.Machine) {
	m.DeletionTimestamp = new(seconds(90))
	m.Status.Phase = "Deleting"
}
func pausedCluster(s *State)           { yes := true; s.Cluster.Spec.Paused = &yes }
func notInitialized(s *State)          { s.ControlPlane.Status.Initialization.ControlPlaneInitialized = nil }
func noControlPlane(s *State)          { s.ControlPlane, s.Machines = nil, nil }
func phase(p string) func(*State)      { return func(s *State) { s.Cluster.Status.Phase = p } }
func provisioned(m *clusterv1.Machine) { m.Status.Phase, m.Status.NodeRef.Name = "Provisioned", "" }

func notReady(m *clusterv1.Machine) {
	is(m, clusterv1.MachineReadyCondition, "False", "NotReady", "* NodeHealthy:\n  * Node.Ready: kubelet stopped posting node status")
}

func infrastructure(status, reason, message string) func(*State) {
	return func(s *State) { is(s.Cluster, clusterv1.ClusterInfrastructureReadyCondition, status, reason, message) }
}

func rolling(s *State) {
	is(s.ControlPlane, controlplanev1.KubeadmControlPlaneRollingOutCondition, "True", "RollingOut", "Rolling out 1 not up-to-date replicas\n* KubeadmConfig is not up-to-date")
}

func TestChanges(t *testing.T) {
	deleting := func(reason string) func(*clusterv1.Machine) {
		return func(m *clusterv1.Machine) {
			deleted(m)
			is(m, clusterv1.MachineDeletingCondition, "True", reason, "Drain not completed yet (started at 12:00)")
		}
	}
	for _, tt := range []struct {
		name        string
		before, now *State
		past        history
		want        []string
	}{
		{name: "nothing there"},
		{name: "gone", before: observed(), want: []string{"Cluster demo: gone"}},
		{name: "nothing happened", before: observed(), now: observed()},
		{
			name: "first look at a settled cluster", now: observed(),
		},
		{
			name: "first look at what is under way", now: observed(phase("Provisioning"), number(3, 1, 1, 1)),
			want: []string{"Cluster demo: Provisioning", "KubeadmControlPlane demo-cp: 1 of 3 machines ready, 1 up to date"},
		},
		{
			name: "first look at what is wrong",
			now: observed(noMachines, phase("Provisioning"), noControlPlane,
				infrastructure("False", "NotReady", "load balancer: no address left")),
			want: []string{"Cluster demo: Provisioning", "DockerCluster demo: load balancer: no address left"},
		},
		{
			name:   "infrastructure comes up",
			before: observed(phase("Provisioning"), noControlPlane, infrastructure("False", "NotReady", "")),
			now:    observed(noMachines, notInitialized, number(3, 0, 0, 0)),
			want: []string{
				"Cluster demo: Provisioned",
				"DockerCluster demo is ready, API servers at [fd00::1]:6443",
				"KubeadmControlPlane demo-cp: new",
				"KubeadmControlPlane demo-cp: 0 of 3 machines ready, 0 up to date",
			},
		},
		{
			name:   "only a number changed in the message",
			before: observed(infrastructure("False", "Creating", "instance 17 of 30 s")),
			now:    observed(infrastructure("False", "Creating", "instance 18 of 30 s")),
		},
		{
			name:   "a message that says nothing",
			before: observed(infrastructure("Unknown", "NotReady", "")),
			now:    observed(infrastructure("False", "NotReady", "DockerCluster status.initialization.provisioned is false")),
		},
		{
			name:   "another message",
			before: observed(infrastructure("False", "Creating", "instance: waiting")),
			now:    observed(infrastructure("False", "Failed", "")),
			want:   []string{"DockerCluster demo: failed"},
		},
		{
			name:   "the first machine",
			before: observed(noMachines, notInitialized, number(1, 0, 0, 0)),
			now: observed(noMachines, notInitialized, number(1, 1, 0, 1), machine("demo-cp-a", provisioned, func(m *clusterv1.Machine) {
				m.Status.Phase = "Provisioning"
				is(m, clusterv1.MachineInfrastructureReadyCondition, "False", "NotReady", "* image not found")
				is(m, clusterv1.MachineReadyCondition, "False", "NotReady", "")
			})),
			want: []string{
				"KubeadmControlPlane demo-cp: 0 of 1 machines ready, 1 up to date",
				"Machine demo-cp-a: new, Kubernetes v1.36.3",
				"Machine demo-cp-a: Provisioning",
				"Machine demo-cp-a: DockerMachine: image not found",
			},
		},
		{
			name:   "a node joins",
			before: observed(noMachines, notInitialized, number(1, 1, 0, 1), machine("demo-cp-a", provisioned, notReady)),
			now:    observed(noMachines, number(1, 1, 0, 1), machine("demo-cp-a", notReady)),
			want: []string{
				"KubeadmControlPlane demo-cp: initialized",
				"Machine demo-cp-a: Running on node node-demo-cp-a after 45s",
			},
		},
		{
			name:   "a machine becomes ready",
			before: observed(noMachines, number(1, 1, 0, 1), machine("demo-cp-a", notReady)),
			now:    observed(),
			want: []string{
				"KubeadmControlPlane demo-cp: 1 of 1 machines ready, 1 up to date",
				"Machine demo-cp-a: ready after 70s",
			},
		},
		{
			name:   "a machine is not ready for a while",
			before: observed(),
			now:    observed(noMachines, machine("demo-cp-a", notReady)),
			want:   []string{"Machine demo-cp-a: no longer ready: NodeHealthy: Node.Ready: kubelet stopped posting node status"},
		},
		{
			name:   "and is again",
			before: observed(noMachines, machine("demo-cp-a", notReady)),
			now:    observed(),
			past:   history{ready: map[string]bool{"demo-cp-a": true}},
			want:   []string{"Machine demo-cp-a: ready again"},
		},
		{
			name:   "a rollout begins",
			before: observed(),
			now:    observed(number(1, 1, 1, 0), rolling),
			want: []string{
				"KubeadmControlPlane demo-cp: Rolling out 1 not up-to-date replicas; KubeadmConfig is not up-to-date",
				"KubeadmControlPlane demo-cp: 1 of 1 machines ready, 0 up to date",
			},
		},
		{
			name:   "the old machine goes",
			before: observed(rolling, machine("demo-cp-b")),
			now:    observed(noMachines, rolling, machine("demo-cp-a", deleting("DrainingNode")), machine("demo-cp-b")),
			want: []string{
				"Machine demo-cp-a: Deleting",
				"Machine demo-cp-a: being deleted: draining node",
			},
		},
		{
			name:   "and goes on",
			before: observed(noMachines, machine("demo-cp-a", deleting("DrainingNode"))),
			now:    observed(noMachines, machine("demo-cp-a", deleting("WaitingForInfrastructureDeletion"))),
			want:   []string{"Machine demo-cp-a: being deleted: waiting for infrastructure deletion"},
		},
		{
			name:   "and is gone",
			before: observed(rolling, machine("demo-cp-b"), machine("demo-cp-c")),
			now:    observed(noMachines, machine("demo-cp-b")),
			past:   history{deleting: map[string]time.Time{"demo-cp-a": began}},
			want: []string{
				"KubeadmControlPlane demo-cp: rolled out",
				"Machine demo-cp-a: gone after 100s",
				"Machine demo-cp-c: gone",
			},
		},
		{
			name:   "paused",
			before: observed(),
			now:    observed(pausedCluster),
			want:   []string{"Cluster demo is paused (spec.paused): nothing happens until it is not"},
		},
		{
			name:   "unknown is no news of what should be false",
			before: observed(),
			now: observed(func(s *State) {
				is(s.ControlPlane, controlplanev1.KubeadmControlPlaneRemediatingCondition, "Unknown", "InternalError", "x")
				is(s.ControlPlane, controlplanev1.KubeadmControlPlaneScalingUpCondition, "True", "ScalingUp", "Scaling up from 1 to 3 replicas is blocked because:\n* Machine x is not healthy")
				is(s.ControlPlane, controlplanev1.KubeadmControlPlaneCertificatesAvailableCondition, "False", "NotAvailable", "Missing Secret demo-ca")
			}),
			want: []string{
				"KubeadmControlPlane demo-cp: Scaling up from 1 to 3 replicas is blocked because: Machine x is not healthy",
				"KubeadmControlPlane demo-cp: certificates: Missing Secret demo-ca",
			},
		},
		{
			name:   "the cluster is deleted",
			before: observed(noControlPlane),
			now: observed(noControlPlane, phase("Deleting"), func(s *State) {
				s.Cluster.DeletionTimestamp = new(seconds(0))
				is(s.Cluster, clusterv1.ClusterDeletingCondition, "True", "WaitingForWorkersDeletion", "* MachineDeployments: md-0")
			}),
			want: []string{"Cluster demo: Deleting", "Cluster demo: being deleted: MachineDeployments: md-0"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := changes(tt.before, tt.now, tt.past, began.Add(100*time.Second))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"NotReady":                  "not ready",
		"WaitingForPreDrainHook":    "waiting for pre drain hook",
		"KCPNotReady":               "KCP not ready",
		"WaitingForAPI":             "waiting for API",
		"":                          "",
		"DrainingNode":              "draining node",
		"X":                         "x",
		"ControlPlaneEndpointNotOK": "control plane endpoint not OK",
	} {
		if got := words(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDone(t *testing.T) {
	topology := func(status string, observedGeneration int64) func(*State) {
		return func(s *State) {
			s.Cluster.Spec.Topology.ClassRef.Name = "class"
			s.Cluster.Status.Conditions = append(s.Cluster.Status.Conditions, metav1.Condition{
				Type: clusterv1.ClusterTopologyReconciledCondition, Status: metav1.ConditionStatus(status), Reason: "X", ObservedGeneration: observedGeneration,
			})
		}
	}
	for _, tt := range []struct {
		name  string
		done  Done
		state *State
		want  string // what is still waited for; "" if nothing is
	}{
		{"initialized", ControlPlaneInitialized, observed(number(3, 1, 0, 1)), ""},
		{"not initialized", ControlPlaneInitialized, observed(notInitialized), "the control plane to be initialized"},
		{"no control plane", ControlPlaneInitialized, observed(noControlPlane), "the cluster to have a KubeadmControlPlane"},
		{"no cluster", ControlPlaneInitialized, nil, "the control plane to be initialized"},
		{"settled", ControlPlaneSettled, observed(), ""},
		{"no cluster to settle", ControlPlaneSettled, nil, "the control plane to be initialized"},
		{"change not seen", ControlPlaneSettled, observed(func(s *State) { s.ControlPlane.Generation = 4 }), "the change of KubeadmControlPlane demo-cp to be noticed"},
		{"one is deleted", ControlPlaneSettled, observed(machine("demo-cp-b", deleted)), "Machine demo-cp-b to be gone"},
		{"not up to date", ControlPlaneSettled, observed(number(3, 3, 3, 2)), "control-plane machines to be up to date (2 of 3)"},
		{"rolling out", ControlPlaneSettled, observed(rolling), "control-plane machines to be up to date (1 of 1)"},
		{"one too many", ControlPlaneSettled, observed(number(1, 2, 1, 1), machine("demo-cp-b")), "1 control-plane machines (there are 2)"},
		{"status older than the machines", ControlPlaneSettled, observed(machine("demo-cp-b")), "1 control-plane machines (there are 2)"},
		{"not ready", ControlPlaneSettled, observed(number(1, 1, 0, 1)), "control-plane machines to be ready (0 of 1)"},
		{"one by default", ControlPlaneSettled, observed(func(s *State) { s.ControlPlane.Spec.Replicas = nil }), ""},
		{"topology not reconciled", ControlPlaneSettled, observed(topology("False", 1)), "the cluster's topology to be reconciled"},
		{"topology reconciled before the change", ControlPlaneSettled, observed(topology("True", 0)), "the cluster's topology to be reconciled"},
		{"topology reconciled", ControlPlaneSettled, observed(topology("True", 1)), ""},
		{"available", Available, observed(), ""},
		{"no cluster that could be available", Available, nil, "the cluster to be available"},
		{"gone", Gone, nil, ""},
		{"still there", Gone, observed(), "the cluster to be gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			done, waitingFor := tt.done(tt.state)
			if done != (tt.want == "") || !done && waitingFor != tt.want {
				t.Errorf("done %v, waiting for %q; want %q", done, waitingFor, tt.want)
			}
		})
	}
}

func TestWillRoll(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state *State
		want  Rollout
		says  string
	}{
		{"no control plane yet", observed(noControlPlane), Rollout{}, "there is none yet"},
		{"no machine yet", observed(noMachines), Rollout{}, "there is none yet"},
		{"one", observed(), Rollout{Machines: 1}, "the control-plane machine will be replaced"},
		{"three", observed(machine("b"), machine("c"), machine("d", deleted)), Rollout{Machines: 3}, "all 3 control-plane machines will be replaced, one after the other, each new one before"},
		{"no surge", observed(machine("b"), machine("c"), func(s *State) {
			s.ControlPlane.Spec.Rollout.Strategy = controlplanev1.KubeadmControlPlaneRolloutStrategy{
				Type:          controlplanev1.RollingUpdateStrategyType,
				RollingUpdate: controlplanev1.KubeadmControlPlaneRolloutStrategyRollingUpdate{MaxSurge: new(intstr.FromInt32(0))},
			}
		}), Rollout{Machines: 3, RemovesFirst: true}, "each removed before its new one comes"},
		{"a strategy of another Cluster API", observed(func(s *State) { s.ControlPlane.Spec.Rollout.Strategy.Type = "OnDelete" }),
			Rollout{Kept: 1, Why: "its rollout strategy is OnDelete: each machine takes the change when somebody deletes it and it is made anew"},
			"no control-plane machine is replaced now (1 stay): its rollout strategy is OnDelete"},
		{"paused", observed(pausedCluster), Rollout{Kept: 1, Why: "Cluster demo is paused (spec.paused): the machines are replaced once it is not"}, "replaced once it is not"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := WillRoll(tt.state)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			if !strings.Contains(got.String(), tt.says) {
				t.Errorf("says %q, want %q", got, tt.says)
			}
		})
	}
}

// fakeWait waits by a clock of its own and reads what it is given, one after the
// other, then the last for ever. Time is up after a minute.
func fakeWait(t *testing.T, done Done, reads ...any) (*wait, context.Context, *[]string) {
	ctx, cancel := context.WithCancelCause(t.Context())
	timeUp := &expiring{Context: ctx}
	now, reported := began, &[]string{}
	w := &wait{
		key: types.NamespacedName{Namespace: "prod", Name: "demo"}, context: "mgmt admin",
		options: AwaitOptions{Done: done, Report: func(line string) { *reported = append(*reported, line) }},
		missing: func(context.Context, *State) []Problem {
			return []Problem{{Kind: "DockerMachineTemplate", Name: "demo", Missing: true, What: "does not exist"}}
		},
		now: func() time.Time { return now },
		sleep: func(_ context.Context, d time.Duration) {
			now = now.Add(d)
			if now.Sub(began) >= time.Minute {
				timeUp.expired = true
				cancel(errTimeUp)
			}
		},
	}
	n := 0
	w.read = func(context.Context) (*State, error) {
		next := reads[min(n, len(reads)-1)]
		n++
		switch next := next.(type) {
		case error:
			return nil, next
		case *State:
			return next, nil
		}
		panic("neither a state nor an error")
	}
	t.Cleanup(func() { cancel(nil) })
	return w, timeUp, reported
}

var errTimeUp = errors.New("not done within 1m0s (--timeout)")

// expiring ends as a context with a deadline does, when it is told to.
type expiring struct {
	context.Context
	expired bool
}

func (c *expiring) Err() error {
	if c.expired {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

func broken() error {
	return &url.Error{Op: "Get", URL: "https://mgmt:6443/x", Err: syscall.ECONNREFUSED}
}

func notFound() error { return ErrNotFound }

func TestAwait(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "machines"}, "", errors.New("no"))
	for _, tt := range []struct {
		name   string
		done   Done
		reads  []any
		errIs  error
		report []string
	}{
		{
			name: "comes about", done: ControlPlaneSettled,
			reads: []any{observed(number(1, 1, 0, 1)), observed()},
			report: []string{
				"KubeadmControlPlane demo-cp: 0 of 1 machines ready, 1 up to date",
				"KubeadmControlPlane demo-cp: 1 of 1 machines ready, 1 up to date",
			},
		},
		{
			name: "out of reach for a while", done: ControlPlaneSettled,
			reads: []any{broken(), broken(), apierrors.NewServiceUnavailable("starting"), observed()},
			report: []string{
				`the management cluster cannot be read, trying again: Get "https://mgmt:6443/x": connection refused`,
				"the management cluster answers again after 3s",
			},
		},
		{name: "forbidden", done: ControlPlaneSettled, reads: []any{broken(), forbidden}, errIs: forbidden,
			report: []string{`the management cluster cannot be read, trying again: Get "https://mgmt:6443/x": connection refused`}},
		{name: "no such cluster", done: ControlPlaneSettled, reads: []any{notFound()}, errIs: ErrNotFound},
		{
			name: "deleted while waiting", done: ControlPlaneInitialized,
			reads: []any{observed(noControlPlane), notFound()}, errIs: ErrNotFound,
			report: []string{"Cluster demo: gone"},
		},
		{
			name: "to be gone", done: Gone,
			reads: []any{
				observed(noMachines, machine("demo-cp-a", deleted)), observed(noMachines, machine("demo-cp-a", deleted)),
				observed(noControlPlane), notFound(),
			},
			report: []string{
				"Machine demo-cp-a: Deleting on node node-demo-cp-a",
				"Machine demo-cp-a: gone after 2s",
				"Cluster demo: gone",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, ctx, reported := fakeWait(t, tt.done, tt.reads...)
			_, err := w.run(ctx)
			if !errors.Is(err, tt.errIs) {
				t.Errorf("error %v, want %v", err, tt.errIs)
			}
			if diff := cmp.Diff(tt.report, *reported); diff != "" && (len(tt.report) > 0 || len(*reported) > 0) {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestAwaitSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	stuck := observed(noMachines, number(3, 2, 1, 2), machine("demo-cp-a"), machine("demo-cp-b", provisioned, notReady), func(s *State) {
		is(s.ControlPlane, controlplanev1.KubeadmControlPlaneScalingUpCondition, "True", "ScalingUp", "Scaling up from 2 to 3 replicas is blocked because:\n* Machine demo-cp-b is not healthy")
	})
	w, ctx, _ := fakeWait(t, ControlPlaneSettled, stuck, broken())
	_, err := w.run(ctx)
	const want = `Cluster prod/demo: gave up waiting for control-plane machines to be up to date (2 of 3): not done within 1m0s (--timeout)
  the management cluster cannot be read: Get "https://mgmt:6443/x": connection refused
  KubeadmControlPlane demo-cp: ScalingUp is True (ScalingUp): Scaling up from 2 to 3 replicas is blocked because: Machine demo-cp-b is not healthy
  Machine demo-cp-b: phase Provisioned; Ready is False (NotReady): NodeHealthy: Node.Ready: kubelet stopped posting node status; it runs, but no node has joined: look at its console or /var/log/cloud-init-output.log
Look at:
  kubectl --context 'mgmt admin' --namespace prod describe kubeadmcontrolplane demo-cp
  kubectl --context 'mgmt admin' --namespace prod describe machine demo-cp-b
  clusterctl describe cluster demo --namespace prod --kubeconfig-context 'mgmt admin' --show-conditions all`
	if _, ok := errors.AsType[*WaitError](err); !ok {
		t.Fatalf("want a WaitError, got %v", err)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	// A step reports a context that ended by its cause, and must not lose this.
	stepErr := (&progress.Reporter{}).Step(t.Context(), "wait", func(context.Context) (string, error) { return "", err })
	if !strings.Contains(stepErr.Error(), "demo-cp-b") {
		t.Errorf("the step says only: %v", stepErr)
	}
}

func TestProblemsOfClusterThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	s := observed(noControlPlane, pausedCluster, func(s *State) { s.Cluster.Status.Conditions = nil })
	want := []Problem{
		{Kind: "Cluster", Name: "demo", See: "DockerCluster demo", What: "Cluster demo is paused (spec.paused); Cluster API's controllers have not looked at it yet: do they run?"},
		{Kind: "KubeadmControlPlane", Name: "demo-cp", Missing: true, What: "does not exist"},
	}
	if diff := cmp.Diff(want, s.Problems()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	w, ctx, _ := fakeWait(t, ControlPlaneInitialized, s)
	_, err := w.run(ctx)
	const says = `Cluster prod/demo: gave up waiting for the cluster to have a KubeadmControlPlane: not done within 1m0s (--timeout)
  DockerMachineTemplate demo: does not exist
  Cluster demo: `
	if err == nil || !strings.HasPrefix(err.Error(), says) || strings.Contains(err.Error(), "describe dockermachinetemplate") {
		t.Errorf("says %v, want %s...", err, says)
	}
	look := lookAt("", types.NamespacedName{Namespace: "prod", Name: "demo"}, s.Problems())
	if want := "kubectl --namespace prod describe dockercluster demo"; !strings.Contains(strings.Join(look, "\n"), want) {
		t.Errorf("look at %q, want %q in it", look, want)
	}
}

func TestAwaitCalledOff(t *testing.T) {
	t.Parallel()
	w, _, _ := fakeWait(t, ControlPlaneSettled, observed(notInitialized))
	ctx, cancel := context.WithCancel(t.Context())
	w.sleep = func(context.Context, time.Duration) { cancel() }
	if _, err := w.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was called off", err)
	}
}

func TestTransient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{broken(), true},
		{io.ErrUnexpectedEOF, true},
		{apierrors.NewTooManyRequests("slow down", 1), true},
		{apierrors.NewInternalError(errors.New("webhook away")), true},
		{apierrors.NewUnauthorized("who?"), false},
		{apierrors.NewNotFound(schema.GroupResource{Resource: "machines"}, "x"), false},
		{&url.Error{Op: "Get", URL: "u", Err: &tls.CertificateVerificationError{Err: errors.New("unknown authority")}}, false},
		{&url.Error{Op: "Get", URL: "u", Err: errors.New("getting credentials: exec: executable aws not found")}, false},
		{errors.New("spec.controlPlaneRef: not a KubeadmControlPlane"), false},
	} {
		if got := transient(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
