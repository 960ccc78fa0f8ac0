package clusterapi

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
)

// history is what has been seen of machines and is no longer to be seen in them.
type history struct {
	// deleting says when a machine was first seen to be deleted, by this
	// computer's clock: the management cluster's may go otherwise.
	deleting map[string]time.Time
	// ready are the machines that have been ready before.
	ready map[string]bool
}

func (h history) add(s *State, now time.Time) {
	if s == nil {
		return
	}
	for i := range s.Machines {
		m := &s.Machines[i]
		if _, known := h.deleting[m.Name]; !known && !m.DeletionTimestamp.IsZero() {
			h.deleting[m.Name] = now
		}
		if conditions.IsTrue(m, clusterv1.MachineReadyCondition) {
			h.ready[m.Name] = true
		}
	}
}

// changes says what has happened between two looks at a cluster, a line each.
// Either state is nil if there was no Cluster then; before the first look, only
// what is under way or wrong is told.
func changes(before, now *State, past history, at time.Time) []string {
	if now == nil {
		if before == nil {
			return nil
		}
		return []string{"Cluster " + before.Cluster.Name + ": gone"}
	}
	first := before == nil
	if first {
		before = &State{Cluster: &clusterv1.Cluster{}}
	}
	var l lines
	l.cluster(before, now, first)
	l.controlPlane(before, now, first)
	l.machines(before, now, first, past, at)
	return l
}

type lines []string

func (l *lines) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func (l *lines) cluster(before, now *State, first bool) {
	a, b := before.Cluster, now.Cluster
	name := "Cluster " + b.Name
	if phase := b.Status.GetTypedPhase(); a.Status.Phase != b.Status.Phase && !(first && phase == clusterv1.ClusterPhaseProvisioned) {
		l.add("%s: %s", name, phase)
	}
	if why := now.paused(); why != "" && why != before.paused() {
		l.add("%s: nothing happens until it is not", why)
	}
	infrastructure := describeRef(b.Spec.InfrastructureRef)
	switch {
	case becameTrue(a, b, clusterv1.ClusterInfrastructureReadyCondition):
		if !first {
			l.add("%s is ready%s", infrastructure, serving(b.Spec.ControlPlaneEndpoint))
		}
	default:
		l.trouble(infrastructure, "", a, b, clusterv1.ClusterInfrastructureReadyCondition, metav1.ConditionTrue)
	}
	l.trouble(name, "topology: ", a, b, clusterv1.ClusterTopologyReconciledCondition, metav1.ConditionTrue)
	if !first && becameTrue(a, b, clusterv1.ClusterAvailableCondition) {
		l.add("%s: available", name)
	}
	if !b.DeletionTimestamp.IsZero() {
		l.trouble(name, "being deleted: ", a, b, clusterv1.ClusterDeletingCondition, metav1.ConditionFalse)
	}
}

func serving(endpoint clusterv1.APIEndpoint) string {
	if !endpoint.IsValid() {
		return ""
	}
	return ", API servers at " + endpoint.String()
}

func (l *lines) controlPlane(before, now *State, first bool) {
	b := now.ControlPlane
	if b == nil {
		return
	}
	name := "KubeadmControlPlane " + b.Name
	a := before.ControlPlane
	if a == nil {
		a = &controlplanev1.KubeadmControlPlane{}
		if !first {
			l.add("%s: new", name)
		}
	}
	if !first && now.initialized() && (before.ControlPlane == nil || !before.initialized()) {
		l.add("%s: initialized", name)
	}
	rolling := controlplanev1.KubeadmControlPlaneRollingOutCondition
	switch {
	case conditions.IsTrue(b, rolling):
		l.trouble(name, "", a, b, rolling, metav1.ConditionFalse)
	case conditions.IsTrue(a, rolling):
		l.add("%s: rolled out", name)
	}
	if n := countMachines(b); n != countMachines(a) && !(first && n.settled()) {
		l.add("%s: %d of %d machines ready, %d up to date", name, n.ready, n.desired, n.upToDate)
	}
	for _, condition := range []string{
		controlplanev1.KubeadmControlPlaneScalingUpCondition,
		controlplanev1.KubeadmControlPlaneScalingDownCondition,
		controlplanev1.KubeadmControlPlaneRemediatingCondition,
	} {
		l.trouble(name, "", a, b, condition, metav1.ConditionFalse)
	}
	if c := conditions.Get(b, controlplanev1.KubeadmControlPlaneCertificatesAvailableCondition); c != nil && c.Status == metav1.ConditionFalse {
		l.trouble(name, "certificates: ", a, b, c.Type, metav1.ConditionTrue)
	}
}

func (l *lines) machines(before, now *State, first bool, past history, at time.Time) {
	old := map[string]*clusterv1.Machine{}
	for i := range before.Machines {
		old[before.Machines[i].Name] = &before.Machines[i]
	}
	for i := range now.Machines {
		b := &now.Machines[i]
		l.machine(old[b.Name], b, first, past.ready[b.Name])
		delete(old, b.Name)
	}
	for i := range before.Machines {
		name := before.Machines[i].Name
		if old[name] == nil {
			continue
		}
		took := ""
		if since, ok := past.deleting[name]; ok {
			took = after(duration.HumanDuration(at.Sub(since)))
		}
		l.add("Machine %s: gone%s", name, took)
	}
}

// machine tells of one machine. a is nil if it was not there.
func (l *lines) machine(a, b *clusterv1.Machine, first, wasReady bool) {
	ready := conditions.Get(b, clusterv1.MachineReadyCondition)
	isReady := conditions.IsTrue(b, clusterv1.MachineReadyCondition)
	deleting := !b.DeletionTimestamp.IsZero()
	if first && isReady && !deleting {
		return
	}
	name := "Machine " + b.Name
	if a == nil {
		a = &clusterv1.Machine{}
		if !first {
			l.add("%s: new, Kubernetes %s", name, b.Spec.Version)
		}
	}
	if node := b.Status.NodeRef.Name; a.Status.Phase != b.Status.Phase || node != a.Status.NodeRef.Name {
		line := b.Status.Phase
		if node != "" && node != a.Status.NodeRef.Name {
			line += " on node " + node
		}
		if b.Status.GetTypedPhase() == clusterv1.MachinePhaseRunning && !first && !wasReady {
			line += after(between(b.CreationTimestamp, b.Status.LastUpdated))
		}
		l.add("%s: %s", name, strings.TrimSpace(line))
	}
	if deleting {
		// The message counts what is still to be done, so only the reason
		// tells of progress.
		reason := conditions.GetReason(b, clusterv1.MachineDeletingCondition)
		if reason != "" && reason != clusterv1.MachineNotDeletingReason && reason != clusterv1.MachineDeletingReason &&
			reason != conditions.GetReason(a, clusterv1.MachineDeletingCondition) {
			l.add("%s: being deleted: %s", name, words(reason))
		}
		return
	}
	switch before := conditions.IsTrue(a, clusterv1.MachineReadyCondition); {
	case isReady && !before && wasReady:
		l.add("%s: ready again", name)
	case isReady && !before:
		l.add("%s: ready%s", name, after(between(b.CreationTimestamp, ready.LastTransitionTime)))
	case !isReady && before && ready != nil:
		l.add("%s: no longer ready: %s", name, explain(ready))
	}
	l.trouble(name, b.Spec.InfrastructureRef.Kind+": ", a, b, clusterv1.MachineInfrastructureReadyCondition, metav1.ConditionTrue)
	l.trouble(name, b.Spec.Bootstrap.ConfigRef.Kind+": ", a, b, clusterv1.MachineBootstrapConfigReadyCondition, metav1.ConditionTrue)
	l.trouble(name, "unhealthy: ", a, b, clusterv1.MachineHealthCheckSucceededCondition, metav1.ConditionTrue)
	l.trouble(name, "", a, b, clusterv1.MachineUpdatingCondition, metav1.ConditionFalse)
}

// trouble adds a line if a condition is not as it should be, and says something
// else than before.
func (l *lines) trouble(object, prefix string, a, b conditions.Getter, condition string, should metav1.ConditionStatus) {
	now := conditions.Get(b, condition)
	if now == nil || now.Status == should || now.Status == metav1.ConditionUnknown && should == metav1.ConditionFalse || saysNothing.MatchString(now.Message) {
		return
	}
	if before := conditions.Get(a, condition); before != nil && before.Status == now.Status && before.Reason == now.Reason && alike(before.Message, now.Message) {
		return
	}
	l.add("%s: %s%s", object, prefix, explain(now))
}

func becameTrue(a, b conditions.Getter, condition string) bool {
	return conditions.IsTrue(b, condition) && !conditions.IsTrue(a, condition)
}

// explain is a condition's message in one line, or its reason if it has none.
func explain(c *metav1.Condition) string {
	if text := oneLine(c.Message); text != "" {
		return text
	}
	return words(c.Reason)
}

// oneLine makes one line of Cluster API's messages, which are lists.
func oneLine(message string) string {
	const most = 400
	var b strings.Builder
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "* "))
		switch {
		case line == "":
			continue
		case strings.HasSuffix(b.String(), ":"):
			b.WriteString(" ")
		case b.Len() > 0:
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	text := b.String()
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// saysNothing matches what Cluster API says itself of an object that does not say
// anything yet.
var saysNothing = regexp.MustCompile(`^\w+ status\.initialization\.\w+ is false$`)

var numbers = regexp.MustCompile(`[0-9]+`)

// alike tells whether two messages say the same but for numbers: some count
// seconds, and nobody wants to read each.
func alike(a, b string) bool {
	return a == b || numbers.ReplaceAllString(a, "#") == numbers.ReplaceAllString(b, "#")
}

// words makes words of a condition's reason: WaitingForNodeRef.
func words(reason string) string {
	var b strings.Builder
	runes := []rune(reason)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte(' ')
		}
		if i+1 < len(runes) && unicode.IsUpper(r) && unicode.IsUpper(runes[i+1]) || i > 0 && i+1 == len(runes) && unicode.IsUpper(runes[i-1]) {
			b.WriteRune(r) // part of an abbreviation
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

func after(took string) string {
	if took == "" {
		return ""
	}
	return " after " + took
}

// between is how long it took from one of the management cluster's times to
// another.
func between(from, to metav1.Time) string {
	if from.IsZero() || to.Before(&from) {
		return ""
	}
	return duration.HumanDuration(to.Sub(from.Time))
}

func describeRef(ref clusterv1.ContractVersionedObjectReference) string {
	if ref.Kind == "" {
		return "infrastructure"
	}
	return ref.Kind + " " + ref.Name
}
