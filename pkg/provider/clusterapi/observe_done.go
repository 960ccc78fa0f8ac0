package clusterapi

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/conditions"
)

// ControlPlaneInitialized waits until the first API server of a cluster answers:
// from then on its kubeconfig secret can be used.
func ControlPlaneInitialized(s *State) (bool, string) {
	const waitingFor = "the control plane to be initialized"
	if s == nil {
		return false, waitingFor
	}
	if s.ControlPlane == nil {
		return false, "the cluster to have a KubeadmControlPlane"
	}
	return s.initialized(), waitingFor
}

// ControlPlaneSettled waits until the control plane is as it is wanted: every
// machine is ready and made from the current spec, and none is coming or going.
func ControlPlaneSettled(s *State) (bool, string) {
	if done, waitingFor := ControlPlaneInitialized(s); !done {
		return false, waitingFor
	}
	kcp := s.ControlPlane
	if s.Topology() {
		c := conditions.Get(s.Cluster, clusterv1.ClusterTopologyReconciledCondition)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration < s.Cluster.Generation {
			return false, "the cluster's topology to be reconciled"
		}
	}
	if kcp.Status.ObservedGeneration < kcp.Generation {
		return false, "the change of KubeadmControlPlane " + kcp.Name + " to be noticed"
	}
	for _, machine := range s.Machines {
		if !machine.DeletionTimestamp.IsZero() {
			return false, "Machine " + machine.Name + " to be gone"
		}
	}
	n := countMachines(kcp)
	switch {
	case n.upToDate < n.desired || conditions.IsTrue(kcp, controlplanev1.KubeadmControlPlaneRollingOutCondition):
		return false, fmt.Sprintf("control-plane machines to be up to date (%d of %d)", n.upToDate, n.desired)
	case n.replicas != n.desired || len(s.Machines) != int(n.desired):
		return false, fmt.Sprintf("%d control-plane machines (there are %d)", n.desired, len(s.Machines))
	case n.ready != n.desired:
		return false, fmt.Sprintf("control-plane machines to be ready (%d of %d)", n.ready, n.desired)
	}
	return true, ""
}

// Available waits until Cluster API finds the whole cluster available, its
// workers included.
func Available(s *State) (bool, string) {
	const waitingFor = "the cluster to be available"
	return s != nil && conditions.IsTrue(s.Cluster, clusterv1.ClusterAvailableCondition), waitingFor
}

// Gone waits until there is no such Cluster any more.
func Gone(s *State) (bool, string) { return s == nil, "the cluster to be gone" }

func (s *State) initialized() bool {
	done := s.ControlPlane.Status.Initialization.ControlPlaneInitialized
	return done != nil && *done
}

// paused says what keeps Cluster API from doing anything; it is empty if nothing
// does.
func (s *State) paused() string {
	switch {
	case s.Cluster.Spec.Paused != nil && *s.Cluster.Spec.Paused:
		return "Cluster " + s.Cluster.Name + " is paused (spec.paused)"
	case annotations.HasPaused(s.Cluster):
		return "Cluster " + s.Cluster.Name + " is paused (annotation " + clusterv1.PausedAnnotation + ")"
	case s.ControlPlane != nil && annotations.HasPaused(s.ControlPlane):
		return "KubeadmControlPlane " + s.ControlPlane.Name + " is paused (annotation " + clusterv1.PausedAnnotation + ")"
	}
	return ""
}

// counts are how many control-plane machines there are.
type counts struct{ desired, replicas, ready, upToDate int32 }

func (n counts) settled() bool {
	return n.replicas == n.desired && n.ready == n.desired && n.upToDate == n.desired
}

func countMachines(kcp *controlplanev1.KubeadmControlPlane) counts {
	value := func(p *int32, otherwise int32) int32 {
		if p == nil {
			return otherwise
		}
		return *p
	}
	return counts{
		desired:  value(kcp.Spec.Replicas, 1), // Cluster API's default
		replicas: value(kcp.Status.Replicas, 0),
		ready:    value(kcp.Status.ReadyReplicas, 0),
		upToDate: value(kcp.Status.UpToDateReplicas, 0),
	}
}

// Rollout is what changing a KubeadmControlPlane's kubeadmConfigSpec does to its
// machines.
type Rollout struct {
	// Machines is how many are replaced.
	Machines int
	// Kept is how many stay as they are until something happens that Why says.
	Kept int
	Why  string
	// RemovesFirst says that an old machine goes before its new one comes,
	// which is maxSurge: 0.
	RemovesFirst bool
}

// WillRoll tells what a change of a cluster's KubeadmControlPlane would do. A
// cluster without machines has nothing to replace.
func WillRoll(s *State) Rollout {
	if s.ControlPlane == nil {
		return Rollout{}
	}
	n := 0
	for _, machine := range s.Machines {
		if machine.DeletionTimestamp.IsZero() {
			n++
		}
	}
	if n == 0 {
		return Rollout{}
	}
	strategy := s.ControlPlane.Spec.Rollout.Strategy
	if strategy.Type != "" && strategy.Type != controlplanev1.RollingUpdateStrategyType {
		return Rollout{Kept: n, Why: fmt.Sprintf("its rollout strategy is %s: each machine takes the change when somebody deletes it and it is made anew", strategy.Type)}
	}
	if why := s.paused(); why != "" {
		return Rollout{Kept: n, Why: why + ": the machines are replaced once it is not"}
	}
	surge := strategy.RollingUpdate.MaxSurge
	return Rollout{Machines: n, RemovesFirst: surge != nil && *surge == intstr.FromInt32(0)}
}

// String announces a rollout.
func (r Rollout) String() string {
	switch {
	case r.Machines == 0 && r.Kept == 0:
		return "no control-plane machine is replaced: there is none yet"
	case r.Kept > 0:
		return fmt.Sprintf("no control-plane machine is replaced now (%d stay): %s", r.Kept, r.Why)
	case r.Machines == 1:
		return "the control-plane machine will be replaced by a new one"
	case r.RemovesFirst:
		return fmt.Sprintf("all %d control-plane machines will be replaced, one after the other, each removed before its new one comes", r.Machines)
	default:
		return fmt.Sprintf("all %d control-plane machines will be replaced, one after the other, each new one before an old one goes", r.Machines)
	}
}
