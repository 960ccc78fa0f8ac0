package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/capiam/capiam/pkg/release"
)

// PreflightOptions say what is going to be done.
type PreflightOptions struct {
	// Cluster is Cluster API's Cluster.
	Cluster types.NamespacedName
	// Creating is set if the Cluster is to be made, and so must not be
	// somebody else's.
	Creating bool
	// Kinds are those of the objects that are to be applied; none if only what
	// is on the management cluster is to be changed. With Creating, they are
	// at least a Cluster and a KubeadmControlPlane.
	Kinds []schema.GroupVersionKind

	// KubernetesVersion is the spec's, "1.36"; empty if it names none.
	KubernetesVersion string
	// ControlPlaneVersion is the one that the objects to be applied bring,
	// "v1.36.3"; empty if they bring none.
	ControlPlaneVersion string
	// Release says which Kubernetes versions capiam knows; nil for any.
	Release *release.Manifest
	// Image is the authenticator's reference; empty if none is to be run.
	Image string
}

// Check is the outcome of one check.
type Check struct {
	Name string `json:"name"`
	// Problem is empty if the check has passed.
	Problem string `json:"problem,omitempty"`
	// Remedy is what to do about the problem. It may have several lines.
	Remedy string `json:"remedy,omitempty"`
	// Warning is set if the problem may turn out to be none.
	Warning bool `json:"warning,omitempty"`
}

// PreflightCheck describes a check, for documentation.
type PreflightCheck struct {
	Name string
	// About says what is checked, in one sentence.
	About string

	run func(*preflight, context.Context) finding
}

// finding is what a check has to say; nothing is wrong with the zero value.
type finding struct {
	problem, remedy string
	warning         bool
}

// PreflightChecks are all checks, in the order in which they are reported.
func PreflightChecks() []PreflightCheck {
	return []PreflightCheck{
		{"management-cluster-reachable", "The management cluster answers. If it does not, nothing else is checked.", (*preflight).reachable},
		{"cluster-api-version", "It serves the API version v1beta2 of Cluster API's core and of the kubeadm control plane, the latter with the label that tells which contract it keeps.", (*preflight).version},
		{"provider-kinds", "It has every kind of object that the spec brings.", (*preflight).kinds},
		{"permissions", "Its API server lets the user do all that capiam has to.", (*preflight).permissions},
		{"eks-anywhere", "The cluster is not kept by EKS Anywhere's own controller, which would undo the changes.", (*preflight).eksAnywhere},
		{"name-clash", "No cluster of another making has the name, nor has one of another namespace the Secrets.", (*preflight).nameClash},
		{"control-plane", "The Cluster's control plane is a KubeadmControlPlane.", (*preflight).controlPlane},
		{"paused", "Cluster API acts on changes of the Cluster.", (*preflight).notPaused},
		{"kubernetes-version", "The control plane's Kubernetes version is the spec's, and one that the release manifest has.", (*preflight).kubernetesVersion},
		{"image", "The authenticator's image has a reference that parses, and its registry, if it can be asked, does not say that there is no such image.", (*preflight).image},
	}
}

// Preflight checks whether a management cluster can be worked with. It only
// reads. The result has every check, in the order of PreflightChecks, or the
// first alone if the management cluster cannot be reached.
func (m *Management) Preflight(ctx context.Context, o PreflightOptions) []Check {
	p := &preflight{m: m, o: o}
	checks := PreflightChecks()
	results := []Check{checks[0].check(ctx, p)}
	if results[0].Problem != "" {
		return results
	}
	p.look(ctx)
	// The time a check takes is that of the answers it waits for.
	results = append(results, make([]Check, len(checks)-1)...)
	var all sync.WaitGroup
	for i := range checks[1:] {
		all.Go(func() { results[i+1] = checks[i+1].check(ctx, p) })
	}
	all.Wait()
	return results
}

func (c PreflightCheck) check(ctx context.Context, p *preflight) Check {
	f := c.run(p, ctx)
	return Check{Name: c.Name, Problem: f.problem, Remedy: f.remedy, Warning: f.warning && f.problem != ""}
}

// preflight is one call of Preflight.
type preflight struct {
	m    *Management
	o    PreflightOptions
	kube kubernetes.Interface

	// state is nil if there is no Cluster, or it cannot be read.
	state    *State
	stateErr error
}

// look reads what several checks need.
func (p *preflight) look(ctx context.Context) {
	p.state, p.stateErr = p.m.State(ctx, p.o.Cluster)
	if errors.Is(p.stateErr, ErrNotFound) {
		p.stateErr = nil
	}
}

// unknown is the finding of a check that could not find out.
func unknown(what string, err error) finding {
	return finding{
		problem: fmt.Sprintf("cannot %s: %v", what, err),
		remedy:  "see what the management cluster's API server says, and try again",
	}
}
