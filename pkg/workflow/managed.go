package workflow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
)

// versionTimeout is how long a management cluster is waited for before anything
// is said.
const versionTimeout = 10 * time.Second

// managedCluster is a cluster that Cluster API keeps for a management cluster,
// in the hands of a workflow.
type managedCluster struct {
	workload
	m    *Manager
	mgmt *clusterapi.Management
	// key is Cluster API's Cluster.
	key types.NamespacedName
	// manifests are its objects, if the spec brings them; otherwise they are on
	// the management cluster already.
	manifests *clusterapi.Manifests
	outputs   Outputs

	// state is nil until the Cluster is there.
	state *clusterapi.State
	keys  *clusterapi.Keys
	// live is what the cluster's authenticator goes by, as ensureKeys found it.
	live install.Live
	// admin is the workload cluster's kubeconfig that Cluster API keeps.
	admin []byte
}

// managed finds the cluster of a spec and its management cluster.
func (m *Manager) managed(ctx context.Context, s *spec.Spec) (*managedCluster, error) {
	mgmt, err := clusterapi.Connect(m.Management)
	if err != nil {
		return nil, err
	}
	version := ""
	if s.Docker != nil {
		// A later capiam knows later versions, and must not replace machines
		// for that. Preflight says what is wrong if there is no answer.
		readCtx, cancel := context.WithTimeout(ctx, versionTimeout)
		defer cancel()
		if state, err := mgmt.State(readCtx, types.NamespacedName{Namespace: s.Namespace, Name: s.Name}); err == nil && state.ControlPlane != nil {
			version = state.ControlPlane.Spec.Version
		}
	}
	manifests, key, err := provider.Manifests(s, version)
	if err != nil {
		return nil, err
	}
	outputs, err := m.outputs(s.Name)
	if err != nil {
		return nil, err
	}
	c := m.managedAt(mgmt, key, outputs)
	c.spec, c.manifests = s, manifests
	return c, nil
}

// managedAt is a cluster of which there is only its name.
func (m *Manager) managedAt(mgmt *clusterapi.Management, key types.NamespacedName, outputs Outputs) *managedCluster {
	c := &managedCluster{m: m, mgmt: mgmt, key: key, outputs: outputs}
	c.reach, c.takeOver = c.workloadConfig, true
	return c
}

// preflight checks the management cluster, and reads what it has of the cluster.
func (c *managedCluster) preflight(ctx context.Context, creating bool) error {
	manifest, err := c.m.release()
	if err != nil {
		return err
	}
	o := clusterapi.PreflightOptions{
		Cluster: c.key, Creating: creating && c.manifests != nil, Release: manifest,
		KubernetesVersion: c.spec.Cluster.Spec.KubernetesVersion,
	}
	if c.spec.IAM != nil {
		if o.Image, err = render.Image(manifest, c.spec); err != nil {
			return err
		}
	}
	if c.manifests != nil {
		o.ControlPlaneVersion = c.manifests.ControlPlane().Version
		for _, u := range c.manifests.Objects() {
			o.Kinds = append(o.Kinds, u.GroupVersionKind())
		}
	}
	var failed []string
	for _, check := range c.mgmt.Preflight(ctx, o) {
		switch {
		case check.Problem == "":
		case check.Warning:
			c.m.progress().Warn("%s: %s; %s", check.Name, check.Problem, check.Remedy)
		default:
			failed = append(failed, fmt.Sprintf("%s: %s\n    %s", check.Name, check.Problem, strings.ReplaceAll(check.Remedy, "\n", "\n    ")))
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d checks failed, and nothing was changed:\n  %s", len(failed), strings.Join(failed, "\n  "))
	}
	c.state, err = c.mgmt.State(ctx, c.key)
	if errors.Is(err, clusterapi.ErrNotFound) {
		return nil
	}
	return err
}

// workloadConfig reaches the cluster by the kubeconfig that Cluster API keeps, or
// by the user's own.
func (c *managedCluster) workloadConfig() (*rest.Config, error) {
	data, from := c.admin, "kubeconfig of Cluster "+c.key.String()
	if file := c.m.WorkloadKubeconfig; file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("kubeconfig of the workload cluster: %w", err)
		}
		from = file
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	cfg.UserAgent = "capiam"
	cfg.QPS = -1
	return cfg, nil
}

// reachWorkload connects to the workload cluster and waits until it answers.
func (c *managedCluster) reachWorkload(ctx context.Context) (err error) {
	if c.admin, err = c.mgmt.AdminKubeconfig(ctx, c.key); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	return c.installer.WaitAPI(ctx)
}

// webhookKubeconfig is the file by which the API servers find the authenticator.
func (c *managedCluster) webhookKubeconfig() ([]byte, error) {
	return kubeconfig.Encode(kubeconfig.Webhook(render.DefaultWebhookURL, c.keys.CA.CertPEM))
}

// setup is how far the live cluster's API servers are connected with the
// authenticator by webhook, the kubeconfig they should have; zero if there is no
// cluster yet.
func (c *managedCluster) setup(ctx context.Context) (webhook []byte, setup clusterapi.Setup, err error) {
	if webhook, err = c.webhookKubeconfig(); err != nil || c.state == nil {
		return webhook, setup, err
	}
	setup, err = c.mgmt.Setup(ctx, c.state, webhook)
	return webhook, setup, err
}

// wiring is what connects the API servers with the authenticator. It needs what
// render has rendered. Control planes that ask the authenticator already keep or
// lack their static pod: that alone is not worth new machines.
func (c *managedCluster) wiring(webhook []byte, setup clusterapi.Setup) clusterapi.Wiring {
	w := clusterapi.Wiring{Webhook: webhook}
	wanted := c.rendered.StaticPod != nil
	if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); initialized && setup.Suffices() {
		wanted = setup.StaticPod
	}
	if wanted {
		w.BootstrapSecret = clusterapi.BootstrapSecretName(c.key.Name)
	}
	return w
}

// writeStaticPod keeps the static pod where joining machines get it from.
func (c *managedCluster) writeStaticPod(ctx context.Context) error {
	if c.rendered.StaticPod == nil {
		return nil
	}
	return c.mgmt.WriteStaticPod(ctx, c.key, c.rendered.StaticPod)
}

// render renders everything the workload cluster gets, with the keys of
// ensureKeys, and as much as there is to it before the cluster has an endpoint. A
// good certificate that is there is kept.
func (c *managedCluster) render(ctx context.Context) error {
	manifest, err := c.m.release()
	if err != nil {
		return err
	}
	leaf, _, err := c.keys.CA.Keep(c.live.Leaf, pki.AuthenticatorLeaf())
	if err != nil {
		return err
	}
	var endpoint render.Endpoint
	if initialized, _ := clusterapi.ControlPlaneInitialized(c.state); initialized {
		if endpoint, err = c.endpoint(ctx); err != nil {
			return err
		}
	}
	in := render.Input{
		Spec:      c.completeSpec(),
		ClusterID: c.keys.ClusterID,
		Release:   manifest,
		Webhook:   render.Webhook{CAPEM: c.keys.CA.CertPEM, Leaf: leaf},
		APIServer: endpoint,
	}
	c.rendered, err = render.Render(in)
	return err
}

// server is the API server's URL as the Cluster has it; IPv6 addresses may or may
// not stand in brackets there.
func (c *managedCluster) server() string {
	e := c.state.Cluster.Spec.ControlPlaneEndpoint
	return "https://" + net.JoinHostPort(strings.Trim(e.Host, "[]"), strconv.Itoa(int(e.Port)))
}

// endpoint is where users reach the cluster.
func (c *managedCluster) endpoint(ctx context.Context) (render.Endpoint, error) {
	caPEM, err := c.mgmt.ClusterCA(ctx, c.key)
	return render.Endpoint{URL: c.server(), CAPEM: caPEM}, err
}

// completeSpec is the spec with what Cluster API knows of the network, so that
// the authenticator goes through no proxy to its own cluster.
func (c *managedCluster) completeSpec() *spec.Spec {
	s := *c.spec
	if c.state == nil {
		return &s
	}
	cluster := *c.spec.Cluster
	network := c.state.Cluster.Spec.ClusterNetwork
	if len(cluster.Spec.ClusterNetwork.Pods.CIDRBlocks) == 0 {
		cluster.Spec.ClusterNetwork.Pods.CIDRBlocks = network.Pods.CIDRBlocks
	}
	if len(cluster.Spec.ClusterNetwork.Services.CIDRBlocks) == 0 {
		cluster.Spec.ClusterNetwork.Services.CIDRBlocks = network.Services.CIDRBlocks
	}
	if host := strings.Trim(c.state.Cluster.Spec.ControlPlaneEndpoint.Host, "[]"); host != "" {
		cluster.Spec.ControlPlaneConfiguration.Endpoint = &v1alpha1.Endpoint{Host: host}
	}
	cluster.Spec.ControlPlaneConfiguration.Taints = c.taints()
	s.Cluster = &cluster
	return &s
}

// taints are the spec's of the control plane, and those that Cluster API's objects
// give its nodes.
func (c *managedCluster) taints() []v1alpha1.Taint {
	taints := slices.Clone(c.spec.Cluster.Spec.ControlPlaneConfiguration.Taints)
	if c.state.ControlPlane == nil {
		return taints
	}
	config := c.state.ControlPlane.Spec.KubeadmConfigSpec
	for _, list := range []*[]corev1.Taint{config.InitConfiguration.NodeRegistration.Taints, config.JoinConfiguration.NodeRegistration.Taints} {
		if list == nil {
			continue
		}
		for _, t := range *list {
			taint := v1alpha1.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)}
			if t.Key != "node-role.kubernetes.io/control-plane" && !slices.Contains(taints, taint) {
				taints = append(taints, taint)
			}
		}
	}
	return taints
}

// checkBackends refuses a spec with other backends than the authenticator has:
// mappings in one that is given up would go on letting people in. EKS Anywhere
// does not let them change either.
func (c *managedCluster) checkBackends(ctx context.Context) error {
	live, err := c.installer.Backends(ctx)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if want := c.spec.IAM.Spec.BackendMode; !slices.Equal(live, want) {
		return fmt.Errorf("AWSIamConfig spec.backendMode: the cluster has %s, the spec %s: it cannot change while AWS IAM authentication is on; switch it off and on again", strings.Join(live, ","), strings.Join(want, ","))
	}
	return nil
}

// ensureKeys finds or makes the CA and the cluster ID, and looks at what the
// workload cluster has, if that is connected to.
func (c *managedCluster) ensureKeys(ctx context.Context, dryRun bool) (err error) {
	if c.installer != nil {
		if c.live, err = c.installer.Live(ctx); err != nil {
			return err
		}
	}
	c.keys, err = c.mgmt.EnsureKeys(ctx, c.key, clusterapi.KeysOptions{
		ClusterID: c.spec.IAM.Spec.ClusterID, SpecName: c.spec.Name, DryRun: dryRun, Made: c.keys, Now: c.m.now,
	}, c.live.ClusterID)
	return err
}

// await follows the cluster, telling what changes.
func (c *managedCluster) await(ctx context.Context, done clusterapi.Done) error {
	state, err := c.mgmt.Await(ctx, c.key, clusterapi.AwaitOptions{
		Done:   done,
		Report: func(line string) { c.m.progress().Note("%s", line) },
	})
	if state != nil {
		c.state = state
	}
	return err
}

// waitAuthenticator waits until the authenticator is ready on every control-plane
// node.
func (c *managedCluster) waitAuthenticator(ctx context.Context) (string, error) {
	nodes := 0
	// A DaemonSet that wants no pod is ready, and lets nobody in.
	atLeast := 0
	for _, machine := range c.state.Machines {
		if machine.DeletionTimestamp.IsZero() && machine.Status.NodeRef.IsDefined() {
			atLeast++
		}
	}
	err := c.installer.WaitReady(ctx, atLeast, func(r install.Readiness) {
		nodes = r.Desired
		text := ""
		if len(r.Problems) > 0 {
			text = ": " + strings.Join(r.Problems, "; ")
		}
		if r.Ready < r.Desired {
			c.m.progress().Note("the authenticator is ready on %d of %d nodes%s", r.Ready, r.Desired, text)
		}
	})
	return fmt.Sprintf("on %d nodes", nodes), err
}

// writeAdmin writes the administrator's kubeconfig.
func (c *managedCluster) writeAdmin() error {
	_, err := atomicfile.Write(c.outputs.Admin(), c.admin, atomicfile.Private)
	return err
}

// writeKubeconfigs writes the kubeconfigs to files, and the users' one to the
// management cluster too.
func (c *managedCluster) writeKubeconfigs(ctx context.Context) (string, error) {
	for _, file := range c.rendered.Files {
		if file.Path == render.WebhookFile {
			continue // it is the control plane's
		}
		if _, err := atomicfile.Write(filepath.Join(c.outputs.Dir, filepath.FromSlash(file.Path)), file.Data, file.Mode); err != nil {
			return "", err
		}
		if file.Path == kubeconfig.UserFile(c.spec.Name) {
			if err := c.mgmt.WriteUserKubeconfig(ctx, c.key, file.Data); err != nil {
				return "", err
			}
		}
	}
	return c.outputs.Dir, c.writeAdmin()
}
