package spec

import (
	"regexp"
	"strings"
)

// unsupported is a field of EKS Anywhere's that capiam knows and does nothing
// with.
//
// The rule: it is refused if leaving it out would give a cluster that is less
// safe than the file promises, or that answers differently to whoever uses it.
// It is a warning if it says how machines are made, watched or replaced, or is
// EKS Anywhere's own book-keeping.
type unsupported struct {
	refuse bool
	why    string
}

// whyServerSet is said of the fields of metadata that an API server fills in; a
// file written by "kubectl get -o yaml" has them.
const whyServerSet = "an API server sets it; remove it from the file"

// Reasons that several fields share. They hold wherever a cluster runs.
const (
	whyNotWatched = "capiam sets up no health checks of machines"
	whyNoGroup    = "EKS Anywhere's machine configs are not capiam's"
	whyRollout    = "Cluster API's own settings say how machines are replaced"

	// whyOwnObjects is added where the user's own Cluster API objects can say
	// what the spec cannot.
	whyOwnObjects = " (with a ClusterAPIDatacenterConfig, write it into Cluster API's own objects)"
)

// unsupportedFields holds, by kind ("*" is every kind) and path with the
// indices of lists left out, the fields of EKS Anywhere v0.26 that are not in
// package v1alpha1.
var unsupportedFields = map[string]unsupported{
	"* status":                              {why: "it is what a cluster reports, not what it should be"},
	"* metadata.creationTimestamp":          {why: whyServerSet},
	"* metadata.deletionGracePeriodSeconds": {why: whyServerSet},
	"* metadata.deletionTimestamp":          {why: whyServerSet},
	"* metadata.finalizers":                 {why: whyServerSet},
	"* metadata.generation":                 {why: whyServerSet},
	"* metadata.managedFields":              {why: whyServerSet},
	"* metadata.ownerReferences":            {why: whyServerSet},
	"* metadata.resourceVersion":            {why: whyServerSet},
	"* metadata.selfLink":                   {why: whyServerSet},
	"* metadata.uid":                        {why: whyServerSet},
	"* metadata.generateName":               {refuse: true, why: "other objects have to name this one; write metadata.name"},

	"Cluster spec.bundlesRef":                {why: "capiam's own release decides what is installed"},
	"Cluster spec.eksaVersion":               {why: "capiam's own release decides what is installed"},
	"Cluster spec.licenseToken":              {why: "capiam needs no licence"},
	"Cluster spec.packages":                  {why: "curated packages are EKS Anywhere's own"},
	"Cluster spec.machineHealthCheck":        {why: whyNotWatched},
	"Cluster spec.externalEtcdConfiguration": {why: "capiam makes no machines for etcd"},
	"Cluster spec.podIamConfig":              {refuse: true, why: "pods would not get the IAM roles the file promises them" + whyOwnObjects},
	"Cluster spec.etcdEncryption":            {refuse: true, why: "Secrets would lie in etcd unencrypted" + whyOwnObjects},

	"Cluster spec.controlPlaneConfiguration.machineGroupRef":                 {why: whyNoGroup},
	"Cluster spec.controlPlaneConfiguration.machineHealthCheck":              {why: whyNotWatched},
	"Cluster spec.controlPlaneConfiguration.upgradeRolloutStrategy":          {why: whyRollout},
	"Cluster spec.controlPlaneConfiguration.skipLoadBalancerDeployment":      {why: "capiam deploys no load balancer of its own"},
	"Cluster spec.controlPlaneConfiguration.certSans":                        {refuse: true, why: "the API server's certificate would lack those names" + whyOwnObjects},
	"Cluster spec.controlPlaneConfiguration.apiServerExtraArgs":              {refuse: true, why: "the API server would run without them" + whyOwnObjects},
	"Cluster spec.controlPlaneConfiguration.kubeletConfiguration":            {refuse: true, why: "the kubelets would run without it" + whyOwnObjects},
	"Cluster spec.controlPlaneConfiguration.auditPolicyContent":              {refuse: true, why: "the API server would audit by another policy, or not at all" + whyOwnObjects},
	"Cluster spec.controlPlaneConfiguration.skipAdmissionForSystemResources": {refuse: true, why: "the API server would admit by other rules" + whyOwnObjects},

	"Cluster spec.workerNodeGroupConfigurations.autoscalingConfiguration": {why: "capiam sets up no autoscaler"},
	"Cluster spec.workerNodeGroupConfigurations.failureDomains":           {why: "capiam places no machines"},
	"Cluster spec.workerNodeGroupConfigurations.kubernetesVersion":        {why: "capiam gives no group a version of its own"},
	"Cluster spec.workerNodeGroupConfigurations.machineGroupRef":          {why: whyNoGroup},
	"Cluster spec.workerNodeGroupConfigurations.machineHealthCheck":       {why: whyNotWatched},
	"Cluster spec.workerNodeGroupConfigurations.upgradeRolloutStrategy":   {why: whyRollout},
	"Cluster spec.workerNodeGroupConfigurations.kubeletConfiguration":     {refuse: true, why: "the kubelets would run without it" + whyOwnObjects},

	"Cluster spec.clusterNetwork.cni":       {why: "capiam installs no network plugin"},
	"Cluster spec.clusterNetwork.cniConfig": {why: "capiam installs no network plugin"},
	"Cluster spec.clusterNetwork.dns":       {why: "capiam does not change how nodes resolve names"},
	"Cluster spec.clusterNetwork.nodes":     {why: "capiam does not change how large a node's range is"},

	"Cluster spec.registryMirrorConfiguration.authenticate":       {refuse: true, why: "images would be asked for without credentials"},
	"Cluster spec.registryMirrorConfiguration.insecureSkipVerify": {refuse: true, why: "give the registry's CA in caCertContent"},
	"Cluster spec.registryMirrorConfiguration.ociNamespaces":      {refuse: true, why: "images would be looked for under other names"},
}

var indices = regexp.MustCompile(`\[\d+\]`)

// findUnsupported looks a field up by its object's kind and its path.
func findUnsupported(kind, path string) (unsupported, bool) {
	if strings.Contains(path, "[") {
		path = indices.ReplaceAllString(path, "")
	}
	if u, ok := unsupportedFields[kind+" "+path]; ok {
		return u, true
	}
	u, ok := unsupportedFields["* "+path]
	return u, ok
}
