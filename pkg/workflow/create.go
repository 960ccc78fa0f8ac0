package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/progress"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/spec"
)

// CreateOptions change what Create does.
type CreateOptions struct {
	// Retain keeps what was made if the first create of a cluster fails, for
	// looking at it.
	Retain bool
	// NoWait returns once everything is written that can be, without waiting
	// for machines and pods; only for clusters that Cluster API keeps.
	NoWait bool
}

// CreateResult is what Create made.
type CreateResult struct {
	Cluster string `json:"cluster"`
	// Resumed is true if the cluster was there before.
	Resumed bool    `json:"resumed"`
	Server  string  `json:"server"`
	Logins  []Login `json:"logins"`
	// Namespace is that of Cluster API's Cluster; empty on this machine.
	Namespace string `json:"namespace,omitempty"`
	// Unfinished says that there is more to do once the control plane is up.
	Unfinished bool `json:"unfinished,omitempty"`
	// Kubeconfigs for users and for the administrator.
	UserKubeconfig  string `json:"userKubeconfig"`
	AdminKubeconfig string `json:"adminKubeconfig"`
	// AWSConfig and AWSCredentials hold a local cluster's profiles.
	AWSConfig      string `json:"awsConfig,omitempty"`
	AWSCredentials string `json:"awsCredentials,omitempty"`
	// AWSEnvironment is what AWS tools need to find its simulated STS.
	AWSEnvironment map[string]string `json:"awsEnvironment,omitempty"`
	// Pending are changes of the mappings that the spec has and the cluster
	// does not; create leaves them to upgrade.
	Pending []string `json:"pending,omitempty"`
}

// Create brings a cluster up and proves that its identities can log in. A
// cluster that exists is carried on with: what is missing is made, what is right
// stays, and its mappings are left to Upgrade.
//
// If a first create is interrupted or fails, what it made is removed again.
func (m *Manager) Create(ctx context.Context, s *spec.Spec, o CreateOptions) (result *CreateResult, err error) {
	if s.Local == nil {
		c, err := m.managed(ctx, s)
		if err != nil {
			return nil, err
		}
		return m.createManaged(ctx, c, o)
	}
	c := m.localCluster(s.Name, s)
	if c.outputs, err = m.outputs(s.Name); err != nil {
		return nil, err
	}
	made := madeDirs(c.layout.Dir, c.outputs.Dir)
	unlock, err := local.LockOperation(c.layout)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Only now: another create may just have ended.
	_, err = local.ReadRecord(c.layout)
	fresh := notFound(err)
	if err != nil && !fresh {
		return nil, err
	}
	wasRunning, err := local.Running(c.layout)
	if err != nil {
		return nil, err
	}
	var programs local.Programs
	step := m.progress().Step

	begun := false
	defer func() {
		if err == nil {
			return
		}
		if undoErr := c.undoCreate(context.WithoutCancel(ctx), undoCreate{
			fresh: fresh, begun: begun, wasRunning: wasRunning, retain: o.Retain, made: made,
			interrupted: errors.Is(err, progress.ErrInterrupted),
		}); undoErr != nil {
			err = errors.Join(err, undoErr)
		}
	}()

	if err := step(ctx, "Check this machine", func(context.Context) (string, error) {
		if programs, err = m.Programs(); err != nil {
			return "", err
		}
		if err := c.claim(fresh); err != nil {
			return "", err
		}
		return "", c.outputs.checkWritable()
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Make keys and certificates", func(ctx context.Context) (string, error) {
		begun = true
		if fresh {
			if err := local.WriteRecord(c.layout, c.record); err != nil {
				return "", err
			}
		}
		if _, err := local.EnsureKeys(c.layout, c.record, m.now); err != nil {
			return "", err
		}
		if err := c.ensureIdentities(ctx); err != nil {
			return "", err
		}
		if err := c.render(); err != nil {
			return "", err
		}
		return "", c.writeConfig()
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Start etcd, kube-apiserver and the authenticator", func(ctx context.Context) (string, error) {
		return c.record.APIServerURL(), c.start(ctx, programs)
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Write kubeconfigs and AWS profiles", func(context.Context) (string, error) {
		if _, err := c.writeKubeconfigs(); err != nil || c.complete() && c.outputs.haveProfiles() {
			// The profiles are of those who may log in, which may not be
			// the spec's.
			return c.outputs.Dir, err
		}
		return c.outputs.Dir, c.writeProfiles()
	}); err != nil {
		return nil, err
	}
	if err := step(ctx, "Install the authenticator's chart", func(ctx context.Context) (string, error) {
		release, err := c.installRelease(ctx)
		return releaseDetail(release), err
	}); err != nil {
		return nil, err
	}
	var plan *mappingPlan
	if err := step(ctx, "Map identities", func(ctx context.Context) (detail string, err error) {
		plan, detail, err = c.mapFirst(ctx)
		if err == nil && plan.empty {
			err = c.writeProfiles()
		}
		return detail, err
	}); err != nil {
		return nil, err
	}
	result = &CreateResult{
		Cluster: s.Name, Resumed: !fresh, Server: c.record.APIServerURL(),
		UserKubeconfig: c.outputs.User(), AdminKubeconfig: c.outputs.Admin(),
		AWSConfig: c.outputs.AWSConfig(), AWSCredentials: c.outputs.AWSCredentials(),
		AWSEnvironment: c.awsEnvironment(),
	}
	if err := c.checkAdmins(plan.after); err != nil {
		m.progress().Warn("%v", err)
	}
	if c.complete() && !plan.empty {
		result.Pending = plan.lines
		m.progress().Warn("the spec and the cluster differ in who may log in; `capiam upgrade cluster` shows and makes the changes")
		return result, nil
	}
	if err := step(ctx, "Log in as every identity", func(ctx context.Context) (string, error) {
		if err := c.waitRoles(ctx); err != nil {
			return "", err
		}
		attempts := c.attempts()
		result.Logins, err = c.prove(ctx, plan.after, attempts)
		return fmt.Sprintf("%d logins as they should be", len(result.Logins)), err
	}); err != nil {
		return nil, err
	}
	if !c.complete() {
		c.record.Completed = m.now()
		if err := local.WriteRecord(c.layout, c.record); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// complete tells whether a create of this cluster has ended well before.
func (c *localCluster) complete() bool { return !c.record.Completed.IsZero() }

// claim finds the cluster's record, or makes up one for a new cluster, and
// refuses a name that is another cluster's. It writes nothing.
func (c *localCluster) claim(fresh bool) (err error) {
	iamSpec := &c.spec.IAM.Spec
	if !fresh {
		if c.record, err = local.ReadRecord(c.layout); err != nil {
			return err
		}
		if c.record.OutputDir != c.outputs.Dir {
			return fmt.Errorf("%w: local cluster %q exists, with its files in %s; run this from %s, or delete it first: capiam delete cluster %s",
				ErrNameTaken, c.spec.Name, c.record.OutputDir, filepath.Dir(c.record.OutputDir), c.spec.Name)
		}
		return c.checkImmutable()
	}
	ports, err := c.m.Store.ChoosePorts(c.spec.Local.Spec.APIServerPort)
	if err != nil {
		return err
	}
	for _, path := range c.outputs.all() {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s exists, and no local cluster %q does: move it away, or use another directory with --output-dir", path, c.spec.Name)
		}
	}
	c.record = &local.Record{
		Name: c.spec.Name, Namespace: c.spec.Namespace, ClusterID: iamSpec.ClusterID,
		Partition: iamSpec.Partition, Region: iamSpec.AWSRegion, BackendMode: iamSpec.BackendMode,
		OutputDir: c.outputs.Dir, Ports: ports, Created: c.m.now(),
		ServiceCIDRs: c.spec.Cluster.Spec.ClusterNetwork.Services.CIDRBlocks,
	}
	if c.record.ClusterID == "" {
		c.record.ClusterID = uuid.NewString()
	}
	return nil
}

// checkImmutable refuses a spec that would make another cluster of this one.
// EKS Anywhere does not let these change either.
func (c *localCluster) checkImmutable() error {
	s := &c.spec.IAM.Spec
	var problems []error
	differ := func(field, is, wanted string) {
		if is != wanted {
			problems = append(problems, fmt.Errorf("%s: cluster %q has %q, the spec %q: it cannot change; create another cluster, or delete this one first", field, c.record.Name, is, wanted))
		}
	}
	differ("metadata.namespace", c.record.Namespace, c.spec.Namespace)
	differ("AWSIamConfig spec.awsRegion", c.record.Region, s.AWSRegion)
	differ("AWSIamConfig spec.partition", c.record.Partition, s.Partition)
	differ("AWSIamConfig spec.backendMode", strings.Join(c.record.BackendMode, ","), strings.Join(s.BackendMode, ","))
	if s.ClusterID != "" {
		differ("AWSIamConfig spec.clusterID", c.record.ClusterID, s.ClusterID)
	}
	if port := c.spec.Local.Spec.APIServerPort; port != 0 && port != c.record.Ports.APIServer {
		problems = append(problems, fmt.Errorf("LocalDatacenterConfig spec.apiServerPort: cluster %q has %d, the spec %d: it cannot change", c.record.Name, c.record.Ports.APIServer, port))
	}
	return errors.Join(problems...)
}

// start starts the supervisor if it does not run, has a running authenticator
// read a changed configuration, and waits for the API server.
func (c *localCluster) start(ctx context.Context, programs local.Programs) error {
	if err := local.Start(ctx, c.layout, programs); err != nil {
		return err
	}
	_, err := c.refreshAuthenticator(ctx)
	// A control plane that cannot start takes the supervisor with it, maybe
	// just while it was asked; why it has ended is what matters then.
	if err := local.WaitReady(ctx, c.layout); err != nil {
		return err
	}
	return err
}

// mapFirst applies the mappings to a cluster that was never complete, and only
// plans them for one that was: changing who may log in is upgrade's.
func (c *localCluster) mapFirst(ctx context.Context) (*mappingPlan, string, error) {
	if c.complete() {
		plan, err := c.planMappings(ctx)
		if err != nil {
			return nil, "", err
		}
		return plan, "left as they are", nil
	}
	plan, undo, err := c.applyMappings(ctx, func(*mappingPlan) error { return nil })
	_ = undo // a first create that fails is removed as a whole
	if err != nil {
		return nil, "", err
	}
	return plan, c.countMappings(), nil
}

// waitRoles waits until the controller manager has filled the ClusterRoles that
// are made up of others, so that RBAC's answers are final.
func (c *localCluster) waitRoles(ctx context.Context) error {
	clients, err := kubernetes.NewForConfig(adminConfig(c.layout, c.record))
	if err != nil {
		return err
	}
	pending := []string{"view", "edit", "admin"}
	for {
		pending = slices.DeleteFunc(pending, func(name string) bool {
			role, err := clients.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
			return err == nil && len(role.Rules) > 0
		})
		if len(pending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for ClusterRole %s to get its rules: %w%s", pending[0], context.Cause(ctx), c.layout.LogTail("kube-controller-manager"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stopTimeout is how long a cluster may take to stop.
const stopTimeout = 30 * time.Second

// undoCreate is what there is to be undone of a create that failed.
type undoCreate struct {
	// fresh is true if there was no such cluster before, begun if anything of
	// it was made, wasRunning if it ran already.
	fresh, begun, wasRunning bool
	// retain is true if the user wants to look at it, interrupted if it was the
	// user who stopped it.
	retain, interrupted bool
	// made are the directories that were not there before, the deepest first.
	made []string
}

// undoCreate takes away what a first create has made, and stops what a later one
// has started.
func (c *localCluster) undoCreate(ctx context.Context, u undoCreate) error {
	switch {
	case u.begun && u.retain:
		c.m.progress().Note("kept what was made; run the same command to carry on, or: capiam delete cluster %s", c.spec.Name)
		return nil
	case !u.begun && !u.fresh:
		return nil
	case !u.begun: // but for the lock
		err := local.Remove(c.layout)
		removeEmpty(u.made)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if !u.fresh {
		return c.stopAgain(ctx, u.wasRunning)
	}
	return c.m.progress().Step(ctx, "Remove what was made", func(ctx context.Context) (string, error) {
		if err := local.Stop(ctx, c.layout); err != nil {
			return "", err
		}
		err := errors.Join(c.outputs.removeFiles(), local.Remove(c.layout))
		removeEmpty(u.made)
		hint := ""
		if !u.interrupted {
			hint = "--retain keeps it, with its logs"
		}
		return hint, err
	})
}

// stopAgain stops a cluster that this command has started.
func (c *localCluster) stopAgain(ctx context.Context, wasRunning bool) error {
	if running, err := local.Running(c.layout); err != nil || !running || wasRunning {
		return err
	}
	return c.m.progress().Step(ctx, "Stop the control plane again", func(ctx context.Context) (string, error) {
		return "", local.Stop(ctx, c.layout)
	})
}

func releaseDetail(r install.ReleaseResult) string {
	if r.Action == "" {
		return ""
	}
	detail := fmt.Sprintf("release kube-system/aws-iam-authenticator revision %d, %s", r.Revision, r.Action)
	if len(r.Drifted) > 0 {
		detail += ": " + strings.Join(r.Drifted, ", ")
	}
	return detail
}

// stranger is the principal of StrangerProfile.
func (c *localCluster) stranger() iam.ARN {
	return iam.ARN{Partition: c.record.Partition, Account: strangerAccount, Kind: iam.KindRole, Name: StrangerProfile}
}
