package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
)

// builtKinds are the kinds a spec may hold, sorted.
var builtKinds = []string{
	v1alpha1.AWSIamConfigKind,
	v1alpha1.ClusterKind,
	v1alpha1.ClusterAPIDatacenterConfigKind,
	v1alpha1.DockerDatacenterConfigKind,
	v1alpha1.LocalDatacenterConfigKind,
}

// datacenterKinds are the kinds that say where a cluster runs.
var datacenterKinds = []string{
	v1alpha1.ClusterAPIDatacenterConfigKind,
	v1alpha1.DockerDatacenterConfigKind,
	v1alpha1.LocalDatacenterConfigKind,
}

// knownKinds are kinds of EKS Anywhere's group, and capiam's own plans, that
// this version does nothing with.
var knownKinds = []string{
	v1alpha1.FluxConfigKind,
	"AWSDatacenterConfig",
	"Bundles",
	"CloudStackDatacenterConfig",
	"CloudStackMachineConfig",
	"EKSARelease",
	"GitOpsConfig",
	"NutanixDatacenterConfig",
	"NutanixMachineConfig",
	"OIDCConfig",
	"SnowDatacenterConfig",
	"SnowIPPool",
	"SnowMachineConfig",
	"TinkerbellDatacenterConfig",
	"TinkerbellMachineConfig",
	"TinkerbellTemplateConfig",
	"VSphereDatacenterConfig",
	"VSphereMachineConfig",
}

// checkKind says why a kind cannot be in a spec, or returns nothing. Near tells
// that it looks like a kind that can, with a mistake.
func checkKind(kind string) (message string, near bool) {
	built := "this version builds " + strings.Join(builtKinds, ", ")
	switch {
	case slices.Contains(builtKinds, kind):
		return "", false
	case slices.Contains(knownKinds, kind):
		message = fmt.Sprintf("capiam knows %s and cannot use it yet (%s)", kind, built)
		if strings.HasSuffix(kind, "DatacenterConfig") {
			message += "; with a " + v1alpha1.ClusterAPIDatacenterConfigKind + " capiam takes the Cluster API objects of any infrastructure"
		}
		return message, false
	}
	message = fmt.Sprintf("unknown kind %q", clip(kind))
	meant, exact := nearest(kind, append(slices.Clone(builtKinds), knownKinds...))
	switch {
	case exact:
		return fmt.Sprintf("%s: kinds are case-sensitive, write %s", message, meant), true
	case meant != "":
		return fmt.Sprintf("%s: did you mean %s?", message, meant), slices.Contains(builtKinds, meant)
	default:
		return fmt.Sprintf("%s (%s)", message, built), false
	}
}

// checkAPIVersion says what is wrong with the apiVersion of an object of that
// kind of capiam's, or returns nothing.
func checkAPIVersion(kind, apiVersion string) string {
	group, _, _ := strings.Cut(apiVersion, "/")
	switch {
	case apiVersion == v1alpha1.APIVersion:
		return ""
	case apiVersion == "":
		return fmt.Sprintf("required: write %s", v1alpha1.APIVersion)
	case kind == v1alpha1.ClusterKind && group == clusterAPIGroup:
		return fmt.Sprintf("%s is Cluster API's, and the fields of this %s are capiam's: write %s", clip(apiVersion), kind, v1alpha1.APIVersion)
	case kind == v1alpha1.ClusterKind && group != v1alpha1.Group:
		return fmt.Sprintf("unknown version %q: a spec's %s has %s, and Cluster API's has %s", clip(apiVersion), kind, v1alpha1.APIVersion, clusterAPIGroup)
	default:
		return fmt.Sprintf("unknown version %q: every %s has %s", clip(apiVersion), kind, v1alpha1.APIVersion)
	}
}
