package v1alpha1

import "slices"

// LocalKubernetesVersion is the one version of Kubernetes that a local cluster
// has built in.
const LocalKubernetesVersion = "1.36"

// Values that are filled in where a spec leaves them out.
const (
	DefaultNamespace = "default"
	DefaultPartition = "aws"

	// Of clusters on Cluster API's Docker provider.
	DefaultPodCIDR     = "192.168.0.0/16"
	DefaultServiceCIDR = "10.96.0.0/12"
	DefaultWorkerGroup = "md-0"
)

// IsLocal tells whether the cluster runs on this machine.
func (c *Cluster) IsLocal() bool {
	return c.Spec.DatacenterRef.Kind == LocalDatacenterConfigKind
}

// IsClusterAPI tells whether the cluster is made of Cluster API objects that the
// user brings.
func (c *Cluster) IsClusterAPI() bool {
	return c.Spec.DatacenterRef.Kind == ClusterAPIDatacenterConfigKind
}

// IsDocker tells whether the cluster runs on machines of Cluster API's Docker
// provider, from objects that capiam renders.
func (c *Cluster) IsDocker() bool {
	return c.Spec.DatacenterRef.Kind == DockerDatacenterConfigKind
}

// HasManagementCluster tells whether a management cluster with Cluster API
// keeps the cluster.
func (c *Cluster) HasManagementCluster() bool { return c.IsClusterAPI() || c.IsDocker() }

// SetDefaults fills in what is left out: the namespace; on a local cluster, the
// Kubernetes version; on the Docker provider, the shape of the cluster.
func (c *Cluster) SetDefaults() {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Spec.KubernetesVersion == "" && c.IsLocal() {
		c.Spec.KubernetesVersion = LocalKubernetesVersion
	}
	if c.IsDocker() {
		c.Spec.setDockerDefaults()
	}
}

func (s *ClusterSpec) setDockerDefaults() {
	if s.ControlPlaneConfiguration.Count == 0 {
		s.ControlPlaneConfiguration.Count = 1
	}
	if len(s.ClusterNetwork.Pods.CIDRBlocks) == 0 {
		s.ClusterNetwork.Pods.CIDRBlocks = []string{DefaultPodCIDR}
	}
	if len(s.ClusterNetwork.Services.CIDRBlocks) == 0 {
		s.ClusterNetwork.Services.CIDRBlocks = []string{DefaultServiceCIDR}
	}
	workers := s.WorkerNodeGroupConfigurations
	for i := range workers {
		if workers[i].Count == nil {
			one := 1
			workers[i].Count = &one
		}
	}
	// With several groups, a name by position would change hands whenever a
	// group comes or goes.
	if len(workers) == 1 && workers[0].Name == "" {
		workers[0].Name = DefaultWorkerGroup
	}
}

// SetDefaults fills in what is left out, for the cluster the object belongs to.
// It leaves the cluster ID alone, which is made up once and kept with the
// cluster, and the audiences, which depend on it; see EffectiveAudiences.
func (c *AWSIamConfig) SetDefaults(cluster *Cluster) {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	s := &c.Spec
	if s.Partition == "" {
		s.Partition = DefaultPartition
	}
	if s.Server.Implementation == "" {
		s.Server.Implementation = ImplementationCapiam
	}
	if s.Client.Command == "" {
		s.Client.Command = ClientAWSIAMAuthenticator
		if cluster.IsLocal() {
			s.Client.Command = ClientCapiam
		}
	}
	if len(s.Tokens) == 0 {
		s.Tokens = []string{TokenPresigned}
		if s.Server.Implementation == ImplementationCapiam && (len(s.TokenIssuers) > 0 || cluster.IsLocal()) {
			s.Tokens = append(s.Tokens, TokenJWT)
		}
	}
}

// TakesPresigned tells whether presigned tokens may log in.
func (s *AWSIamConfigSpec) TakesPresigned() bool { return slices.Contains(s.Tokens, TokenPresigned) }

// TakesJWT tells whether JWTs may log in.
func (s *AWSIamConfigSpec) TakesJWT() bool { return slices.Contains(s.Tokens, TokenJWT) }

// EffectiveAudiences returns the audiences a JWT may be made for, given the
// cluster's ID: those of the spec, or else the ID itself and the two that other
// programs ask for.
func (s *AWSIamConfigSpec) EffectiveAudiences(clusterID string) []string {
	if len(s.Audiences) > 0 {
		return slices.Clone(s.Audiences)
	}
	return []string{clusterID, "sts.amazonaws.com", "kubernetes"}
}

// TokenAudience is what users' JWTs are made for, given the cluster's ID: the ID
// itself, unless the spec does not take that.
func (s *AWSIamConfigSpec) TokenAudience(clusterID string) string {
	audiences := s.EffectiveAudiences(clusterID)
	if slices.Contains(audiences, clusterID) {
		return clusterID
	}
	return audiences[0]
}

// SetDefaults fills in what is left out: the namespace, and group bindings that
// let the groups capiam:edit and capiam:view do what their names say. Editing is
// limited to the namespace default: in kube-system it would let its members
// change who is an administrator.
func (c *LocalDatacenterConfig) SetDefaults() {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	// An empty list is a choice, and stays.
	if c.Spec.GroupBindings == nil {
		c.Spec.GroupBindings = []GroupBinding{
			{Group: "capiam:edit", ClusterRole: "edit", Namespace: DefaultNamespace},
			{Group: "capiam:view", ClusterRole: "view"},
		}
	}
}

// SetDefaults fills in what is left out, for the cluster the object belongs to:
// the namespaces and the name of Cluster API's Cluster. A namespace that this
// one has in the spec has to be filled in before.
func (c *ClusterAPIDatacenterConfig) SetDefaults(cluster *Cluster) {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Spec.ClusterName == "" {
		c.Spec.ClusterName = cluster.Name
	}
	if c.Spec.Namespace == "" {
		c.Spec.Namespace = cluster.Namespace
	}
}

// SetDefaults fills in what is left out: the namespace.
func (c *DockerDatacenterConfig) SetDefaults() {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
}
