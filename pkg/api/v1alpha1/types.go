package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Group and version of every object in a spec, and the kinds capiam acts on.
const (
	Group      = "anywhere.eks.amazonaws.com"
	Version    = "v1alpha1"
	APIVersion = Group + "/" + Version

	ClusterKind                    = "Cluster"
	AWSIamConfigKind               = "AWSIamConfig"
	LocalDatacenterConfigKind      = "LocalDatacenterConfig"
	DockerDatacenterConfigKind     = "DockerDatacenterConfig"
	ClusterAPIDatacenterConfigKind = "ClusterAPIDatacenterConfig"
	FluxConfigKind                 = "FluxConfig"
)

// Backend modes of the authenticator: where it reads mappings from.
const (
	BackendEKSConfigMap = "EKSConfigMap"
	BackendCRD          = "CRD"
	BackendMountedFile  = "MountedFile"
	BackendDynamicFile  = "DynamicFile"
)

// Cluster is the root of a spec: one Kubernetes cluster.
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ClusterSpec `json:"spec,omitempty"`
}

// ClusterSpec is what a Cluster should be like.
type ClusterSpec struct {
	// KubernetesVersion is the minor version, "1.36". It may be left out on a
	// local cluster, which has one version built in.
	KubernetesVersion             string                         `json:"kubernetesVersion,omitempty"`
	ControlPlaneConfiguration     ControlPlaneConfiguration      `json:"controlPlaneConfiguration,omitempty"`
	WorkerNodeGroupConfigurations []WorkerNodeGroupConfiguration `json:"workerNodeGroupConfigurations,omitempty"`
	ClusterNetwork                ClusterNetwork                 `json:"clusterNetwork,omitempty"`
	// DatacenterRef names the object that says where the cluster runs.
	DatacenterRef Ref `json:"datacenterRef,omitempty"`
	// IdentityProviderRefs name the objects that say who may log in.
	IdentityProviderRefs []Ref `json:"identityProviderRefs,omitempty"`
	// GitOpsRef names the FluxConfig, if git keeps the cluster.
	GitOpsRef *Ref `json:"gitOpsRef,omitempty"`
	// ManagementCluster names the cluster that manages this one; empty or its
	// own name means that it manages itself.
	ManagementCluster           ManagementCluster            `json:"managementCluster,omitempty"`
	ProxyConfiguration          *ProxyConfiguration          `json:"proxyConfiguration,omitempty"`
	RegistryMirrorConfiguration *RegistryMirrorConfiguration `json:"registryMirrorConfiguration,omitempty"`
}

// Ref names another object of the same spec and namespace.
type Ref struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
}

// ControlPlaneConfiguration is the shape of the control plane.
type ControlPlaneConfiguration struct {
	// Count is the number of control-plane nodes.
	Count    int       `json:"count,omitempty"`
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	Taints   []Taint   `json:"taints,omitempty"`
	// Labels are set on the control-plane nodes.
	Labels map[string]string `json:"labels,omitempty"`
}

// Endpoint is where the API server is reached.
type Endpoint struct {
	// Host is a name or address, with no scheme or port.
	Host string `json:"host,omitempty"`
}

// Taint is a node taint.
type Taint struct {
	Key    string `json:"key,omitempty"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect,omitempty"`
}

// WorkerNodeGroupConfiguration is one group of worker nodes.
type WorkerNodeGroupConfiguration struct {
	Name   string            `json:"name,omitempty"`
	Count  *int              `json:"count,omitempty"`
	Taints []Taint           `json:"taints,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// ClusterNetwork holds the cluster's address ranges.
type ClusterNetwork struct {
	Pods     CIDRBlocks `json:"pods,omitempty"`
	Services CIDRBlocks `json:"services,omitempty"`
}

// CIDRBlocks is a list of address ranges.
type CIDRBlocks struct {
	CIDRBlocks []string `json:"cidrBlocks,omitempty"`
}

// ManagementCluster names a management cluster.
type ManagementCluster struct {
	Name string `json:"name,omitempty"`
}

// ProxyConfiguration is the proxy the nodes and the authenticator go through.
type ProxyConfiguration struct {
	HTTPProxy  string   `json:"httpProxy,omitempty"`
	HTTPSProxy string   `json:"httpsProxy,omitempty"`
	NoProxy    []string `json:"noProxy,omitempty"`
}

// RegistryMirrorConfiguration is a registry that images come from instead of
// their own.
type RegistryMirrorConfiguration struct {
	// Endpoint is the registry's host.
	Endpoint string `json:"endpoint,omitempty"`
	// Port is the registry's port, "443" if empty.
	Port string `json:"port,omitempty"`
	// CACertContent is the PEM of the registry's CA.
	CACertContent string `json:"caCertContent,omitempty"`
}

// AWSIamConfig says which AWS identities may log in to a cluster, and as whom.
type AWSIamConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AWSIamConfigSpec `json:"spec,omitempty"`
}

// AWSIamConfigSpec is EKS Anywhere's, with capiam's optional additions after
// mapUsers.
type AWSIamConfigSpec struct {
	// AWSRegion is the region whose STS endpoint users' tokens are made for.
	AWSRegion string `json:"awsRegion,omitempty"`
	// Partition is one of AWS's eight; "aws" if empty.
	Partition string `json:"partition,omitempty"`
	// BackendMode lists where the authenticator reads mappings from; the
	// first hit wins.
	BackendMode []string  `json:"backendMode,omitempty"`
	MapRoles    []MapRole `json:"mapRoles,omitempty"`
	MapUsers    []MapUser `json:"mapUsers,omitempty"`

	// ClusterID is the name a token is made for. It is made up once and kept
	// if empty.
	ClusterID string `json:"clusterID,omitempty"`
	// MapAccounts lists accounts whose every principal may log in, as its own
	// ARN and with no groups.
	MapAccounts []string  `json:"mapAccounts,omitempty"`
	SSORoles    []SSORole `json:"ssoRoles,omitempty"`
	// Tokens lists the kinds of token that may log in: "presigned" (a signed
	// request to STS) and "jwt" (made by an account's issuer). Left out, it is
	// presigned, and jwt too where there are issuers: tokenIssuers are given,
	// or the cluster is local and brings its own.
	Tokens []string `json:"tokens,omitempty"`
	// TokenIssuers switch logins by JWT on: one per AWS account.
	TokenIssuers []TokenIssuer `json:"tokenIssuers,omitempty"`
	// Audiences a JWT may be made for; the cluster ID, "sts.amazonaws.com"
	// and "kubernetes" if empty.
	Audiences []string   `json:"audiences,omitempty"`
	Server    ServerSpec `json:"server,omitempty"`
	Client    ClientSpec `json:"client,omitempty"`
}

// Kinds of token.
const (
	TokenPresigned = "presigned"
	TokenJWT       = "jwt"
)

// MapRole lets whoever assumes a role log in.
type MapRole struct {
	RoleARN  string   `json:"roleARN,omitempty"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// MapUser lets an IAM user log in.
type MapUser struct {
	UserARN  string   `json:"userARN,omitempty"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// SSORole lets whoever holds a permission set of IAM Identity Center in an
// account log in.
type SSORole struct {
	AccountID         string   `json:"accountID,omitempty"`
	PermissionSetName string   `json:"permissionSetName,omitempty"`
	Username          string   `json:"username,omitempty"`
	Groups            []string `json:"groups,omitempty"`
}

// TokenIssuer is one account's issuer of JWTs (outbound identity federation).
type TokenIssuer struct {
	IssuerURL string `json:"issuerURL,omitempty"`
	AccountID string `json:"accountID,omitempty"`
}

// Implementations of the authenticator's server, and commands of the client.
const (
	ImplementationCapiam              = "capiam"
	ImplementationAWSIAMAuthenticator = "aws-iam-authenticator"

	ClientCapiam              = "capiam"
	ClientAWSIAMAuthenticator = "aws-iam-authenticator"
	ClientAWS                 = "aws"
)

// ServerSpec chooses the authenticator.
type ServerSpec struct {
	// Implementation is "capiam" (the default) or "aws-iam-authenticator".
	Implementation string `json:"implementation,omitempty"`
	// Image replaces the release's image.
	Image string `json:"image,omitempty"`
}

// ClientSpec chooses what users' kubeconfigs call.
type ClientSpec struct {
	// Command is "aws-iam-authenticator" (the default), "aws" or "capiam"
	// (the default on a local cluster).
	Command string `json:"command,omitempty"`
}

// LocalDatacenterConfig puts the cluster's control plane on this machine,
// without root or containers. Every field is optional.
type LocalDatacenterConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec LocalDatacenterConfigSpec `json:"spec,omitempty"`
}

// LocalDatacenterConfigSpec is what can be chosen about a local cluster.
type LocalDatacenterConfigSpec struct {
	// APIServerPort is the loopback port of the API server; a free one is
	// chosen and kept if it is 0.
	APIServerPort int `json:"apiServerPort,omitempty"`
	// GroupBindings give groups that mappings name a ClusterRole, so that a
	// fresh cluster has something to be allowed. Left out, capiam:edit is
	// bound to edit in the namespace default, and capiam:view to view in all;
	// an empty list binds nothing.
	GroupBindings []GroupBinding `json:"groupBindings,omitempty"`
}

// ClusterAPIDatacenterConfig says that the cluster is one of Cluster API's, on
// whatever infrastructure. Its objects stand in the spec file or in the files
// named here, or are on the management cluster already.
type ClusterAPIDatacenterConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ClusterAPIDatacenterConfigSpec `json:"spec,omitempty"`
}

// ClusterAPIDatacenterConfigSpec says which of a management cluster's clusters
// is meant, and what it is made of.
type ClusterAPIDatacenterConfigSpec struct {
	// ClusterName is the name of Cluster API's Cluster; that of the spec's
	// Cluster if empty.
	ClusterName string `json:"clusterName,omitempty"`
	// Namespace is that of Cluster API's Cluster on the management cluster. If
	// empty, it is what that object has in the spec, or else the spec's own
	// namespace.
	Namespace string `json:"namespace,omitempty"`
	// Files are further files with API objects, by their paths relative to the
	// spec file's directory.
	Files []string `json:"files,omitempty"`
	// GroupBindings give groups that mappings name a ClusterRole; none if left
	// out.
	GroupBindings []GroupBinding `json:"groupBindings,omitempty"`
}

// DockerDatacenterConfig makes the cluster's machines with Cluster API's Docker
// provider. Every field is optional.
type DockerDatacenterConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DockerDatacenterConfigSpec `json:"spec,omitempty"`
}

// DockerDatacenterConfigSpec is what can be chosen about a cluster of the Docker
// provider's; the shape of it stands in the Cluster.
type DockerDatacenterConfigSpec struct {
	// NodeImage is the image of every node, in place of the provider's own for
	// the Kubernetes version.
	NodeImage string `json:"nodeImage,omitempty"`
	// GroupBindings give groups that mappings name a ClusterRole; none if left
	// out.
	GroupBindings []GroupBinding `json:"groupBindings,omitempty"`
}

// GroupBinding gives a group a ClusterRole.
type GroupBinding struct {
	Group       string `json:"group,omitempty"`
	ClusterRole string `json:"clusterRole,omitempty"`
	// Namespace limits the binding to one that exists; all namespaces if
	// empty. Whoever may write ConfigMaps or make tokens in kube-system can
	// make himself an administrator, so edit belongs into a namespace.
	Namespace string `json:"namespace,omitempty"`
}
