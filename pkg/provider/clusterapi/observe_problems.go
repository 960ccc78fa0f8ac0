package clusterapi

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/external"
	"sigs.k8s.io/cluster-api/util/conditions"
)

// Problem is what is wrong with an object of a cluster.
type Problem struct {
	// Kind and Name are the object's; it is in the Cluster's namespace.
	Kind, Name string
	// What is wrong: conditions with their reasons and messages.
	What string
	// See is another object that knows more, "DockerMachine demo-x", if there
	// is one.
	See string
	// Missing is set if the object does not exist.
	Missing bool
}

func (p Problem) String() string { return p.Kind + " " + p.Name + ": " + p.What }

// Problems says what is not as it should be with a cluster, the cause before
// what comes of it where that is known.
func (s *State) Problems() []Problem {
	var found []Problem
	add := func(kind, name, see string, what []string) {
		if len(what) > 0 {
			found = append(found, Problem{Kind: kind, Name: name, See: see, What: strings.Join(what, "; ")})
		}
	}

	var what []string
	if why := s.paused(); why != "" {
		what = append(what, why)
	}
	see := ""
	if ref := s.Cluster.Spec.InfrastructureRef; !conditions.IsTrue(s.Cluster, clusterv1.ClusterInfrastructureReadyCondition) && ref.Kind != "" {
		see = describeRef(ref)
	}
	what = append(what, unhappy(s.Cluster, metav1.ConditionTrue, clusterv1.ClusterTopologyReconciledCondition, clusterv1.ClusterInfrastructureReadyCondition)...)
	if s.ControlPlane != nil && s.initialized() {
		what = append(what, unhappy(s.Cluster, metav1.ConditionTrue, clusterv1.ClusterRemoteConnectionProbeCondition)...)
	}
	what = append(what, unhappy(s.Cluster, metav1.ConditionFalse, clusterv1.ClusterDeletingCondition)...)
	if len(s.Cluster.Status.Conditions) == 0 {
		what = append(what, "Cluster API's controllers have not looked at it yet: do they run?")
	}
	add("Cluster", s.Cluster.Name, see, what)

	if kcp := s.ControlPlane; kcp != nil {
		add("KubeadmControlPlane", kcp.Name, "", append(
			unhappy(kcp, metav1.ConditionTrue,
				controlplanev1.KubeadmControlPlaneCertificatesAvailableCondition,
				controlplanev1.KubeadmControlPlaneAvailableCondition),
			unhappy(kcp, metav1.ConditionFalse,
				controlplanev1.KubeadmControlPlaneRollingOutCondition,
				controlplanev1.KubeadmControlPlaneScalingUpCondition,
				controlplanev1.KubeadmControlPlaneScalingDownCondition,
				controlplanev1.KubeadmControlPlaneRemediatingCondition,
				controlplanev1.KubeadmControlPlaneDeletingCondition)...))
	} else if name := s.Cluster.Spec.ControlPlaneRef.Name; name != "" {
		found = append(found, Problem{Kind: "KubeadmControlPlane", Name: name, Missing: true, What: "does not exist"})
	}
	for i := range s.Machines {
		what, see := machineProblem(&s.Machines[i])
		add("Machine", s.Machines[i].Name, see, what)
	}
	return found
}

// missing finds what a control plane's machines are to be made from and is not
// there. Cluster API's conditions do not say so, only the log of its manager.
func (m *Management) missing(ctx context.Context, s *State) []Problem {
	if s.ControlPlane == nil {
		return nil
	}
	ref := s.ControlPlane.Spec.MachineTemplate.Spec.InfrastructureRef
	_, err := external.GetObjectFromContractVersionedRef(ctx, m, ref, s.ControlPlane.Namespace)
	if !apierrors.IsNotFound(err) {
		return nil
	}
	return []Problem{{Kind: ref.Kind, Name: ref.Name, Missing: true, What: "does not exist, and KubeadmControlPlane " + s.ControlPlane.Name + " is to make its machines from it (spec.machineTemplate)"}}
}

func machineProblem(m *clusterv1.Machine) (what []string, see string) {
	what = unhappy(m, metav1.ConditionTrue, clusterv1.MachineReadyCondition)
	if len(what) == 0 || conditions.GetMessage(m, clusterv1.MachineReadyCondition) == "" {
		// Ready sums these up, if it says anything.
		what = append(what, unhappy(m, metav1.ConditionTrue, clusterv1.MachineBootstrapConfigReadyCondition,
			clusterv1.MachineInfrastructureReadyCondition, clusterv1.MachineNodeHealthyCondition)...)
	}
	what = append(what, unhappy(m, metav1.ConditionFalse, clusterv1.MachineDeletingCondition)...)
	what = append(what, unhappy(m, metav1.ConditionTrue, clusterv1.MachineUpToDateCondition)...)
	phase := m.Status.GetTypedPhase()
	if len(what) == 0 && phase == clusterv1.MachinePhaseRunning {
		return nil, ""
	}
	if phase == clusterv1.MachinePhaseProvisioned && !m.Status.NodeRef.IsDefined() {
		what = append(what, "it runs, but no node has joined: look at its console or /var/log/cloud-init-output.log")
	}
	if ref := m.Spec.InfrastructureRef; ref.Kind != "" && !conditions.IsTrue(m, clusterv1.MachineInfrastructureReadyCondition) {
		see = describeRef(ref)
	}
	text := "phase " + m.Status.Phase
	if m.Status.Phase == "" {
		text = "no phase yet"
	}
	return append([]string{text}, what...), see
}

// unhappy returns the conditions that are not as they should be. One that does
// not exist says nothing.
func unhappy(o conditions.Getter, should metav1.ConditionStatus, types ...string) []string {
	var found []string
	for _, t := range types {
		c := conditions.Get(o, t)
		if c == nil || c.Status == should {
			continue
		}
		text := fmt.Sprintf("%s is %s (%s)", t, c.Status, c.Reason)
		if message := oneLine(c.Message); message != "" {
			text += ": " + message
		}
		found = append(found, text)
	}
	return found
}

// lookAt are the commands that show more of problems.
func lookAt(context string, key types.NamespacedName, problems []Problem) []string {
	kubectl, clusterctl := "kubectl", ""
	if context != "" {
		kubectl += " --context " + quote(context)
		clusterctl = " --kubeconfig-context " + quote(context)
	}
	kubectl += " --namespace " + key.Namespace
	var commands []string
	describe := func(kind, name string) {
		commands = append(commands, kubectl+" describe "+strings.ToLower(kind)+" "+name)
	}
	// A few are enough: the tree at the end has them all.
	for _, p := range problems[:min(len(problems), 4)] {
		if !p.Missing {
			describe(p.Kind, p.Name)
		}
		if kind, name, ok := strings.Cut(p.See, " "); ok {
			describe(kind, name)
		}
	}
	return append(commands, "clusterctl describe cluster "+key.Name+" --namespace "+key.Namespace+clusterctl+" --show-conditions all")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// quote makes one word of a text, for a shell.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
