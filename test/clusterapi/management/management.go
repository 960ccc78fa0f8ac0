package management

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/provider/local"
)

// Management is a running management cluster.
type Management struct {
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Config is the administrator's, without a limit on queries.
	Config *rest.Config
	// Client knows the kinds of Kubernetes and of Cluster API's core, kubeadm
	// bootstrap and kubeadm control plane. It caches nothing.
	Client client.Client

	layout local.Layout
	record *local.Record
	unlock func()

	mu        sync.Mutex
	processes []*process // in the order of their start
	stopped   bool
}

// Scheme has the kinds that Management.Client knows.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme,
		clusterv1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// Start starts a management cluster and returns when every part of it is ready.
// After an error nothing is left running. The cluster outlives ctx: Stop ends
// it.
func Start(ctx context.Context, o Options) (_ *Management, err error) {
	providers, err := o.providers()
	if err != nil {
		return nil, fmt.Errorf("start a management cluster: %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	m := &Management{layout: local.Layout{Dir: dir}, Kubeconfig: KubeconfigFile(dir)}
	defer func() {
		if err != nil {
			m.Stop()
			err = fmt.Errorf("start a management cluster: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if m.unlock, err = local.LockSupervisor(ctx, m.layout); err != nil {
		return nil, err
	}
	if err := m.prepare(); err != nil {
		return nil, err
	}
	if err := m.startControlPlane(ctx, o.Bin); err != nil {
		return nil, err
	}
	webhooks, err := m.startProviders(ctx, o.Bin, providers)
	if err != nil {
		return nil, err
	}
	// Only now, as the API server fails requests whose webhook is not there.
	if err := apply(ctx, m.Client, webhooks...); err != nil {
		return nil, err
	}
	return m, nil
}

// prepare makes keys, certificates and kubeconfigs.
func (m *Management) prepare() error {
	record, err := local.ReadRecord(m.layout)
	if errors.Is(err, local.ErrNotFound) {
		ports, err := (&local.Store{Root: filepath.Dir(m.layout.Dir)}).ChoosePorts(0)
		if err != nil {
			return err
		}
		record = &local.Record{Name: "management", Ports: ports}
		if err := local.WriteRecord(m.layout, record); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	m.record = record
	if _, err := local.EnsureKeys(m.layout, record, time.Now); err != nil {
		return err
	}
	// Nobody answers the token webhook here.
	if err := os.Remove(m.layout.Webhook()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var pem [3][]byte
	for i, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		if pem[i], err = os.ReadFile(m.layout.PKI(name)); err != nil {
			return err
		}
	}
	if _, err := kubeconfig.WriteFile(m.Kubeconfig, kubeconfig.Admin(kubeconfig.AdminOptions{
		Cluster: record.Name, Server: record.APIServerURL(), CAPEM: pem[0], CertPEM: pem[1], KeyPEM: pem[2],
	})); err != nil {
		return err
	}
	m.Config = &rest.Config{
		Host: record.APIServerURL(), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem[0], CertData: pem[1], KeyData: pem[2]},
		// Cluster API warns of every old version; a test that asks for one
		// knows.
		WarningHandler: rest.NoWarnings{},
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	m.Client, err = client.New(m.Config, client.Options{Scheme: scheme})
	return err
}

// Err is why a part has ended that should run, or nil. The reason holds the end
// of that part's log.
func (m *Management) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return errors.New("the management cluster is stopped")
	}
	for _, p := range m.processes {
		if err := p.failure(); err != nil {
			return err
		}
	}
	return nil
}

// Wait calls check until it returns nil, often. It gives up when ctx ends, with
// check's last error as the reason, or when a part of the management cluster
// has ended.
func (m *Management) Wait(ctx context.Context, check func(context.Context) error) error {
	return poll(ctx, m.Err, check)
}

// Log is the path of a part's log: "control-plane", "kube-controller-manager",
// "cluster-api", "bootstrap-kubeadm", "control-plane-kubeadm" or the name of the
// infrastructure provider.
func (m *Management) Log(part string) string { return m.layout.Log(part) }

// Complaints are the last errors in each log, for the output of a failed test.
func (m *Management) Complaints() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all strings.Builder
	for _, p := range m.processes {
		fmt.Fprintf(&all, "%s:\n%s", p.log, complaints(p.log))
	}
	return all.String()
}

// PIDs are the processes of the parts, by their names.
func (m *Management) PIDs() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	pids := map[string]int{}
	for _, p := range m.processes {
		pids[p.name] = p.cmd.Process.Pid
	}
	return pids
}

// Stop ends every part, the API server last, and returns when all have ended.
// What lies in the directory stays.
func (m *Management) Stop() {
	m.mu.Lock()
	processes, already := m.processes, m.stopped
	m.stopped = true
	m.mu.Unlock()
	if already {
		return
	}
	if len(processes) > 0 {
		var clients sync.WaitGroup
		for _, p := range processes[1:] {
			clients.Go(p.stop)
		}
		clients.Wait()
		processes[0].stop()
	}
	if m.unlock != nil {
		m.unlock()
	}
}

// run starts a part of the management cluster.
func (m *Management) run(name string, env, command []string) error {
	p, err := startProcess(name, m.layout.Log(name), append(m.environment(), env...), command)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.processes = append(m.processes, p)
	return nil
}

// environment is a clean one: whatever proxies and certificates the caller's
// names are none of the parts' business.
func (m *Management) environment() []string {
	env := []string{"HOME=" + m.layout.Dir, "KUBECONFIG=" + m.Kubeconfig}
	for _, name := range []string{"PATH", "TMPDIR", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// startProviders installs the providers, starts their managers and
// kube-controller-manager, and waits until they are ready. It returns the
// webhook configurations to apply then.
func (m *Management) startProviders(ctx context.Context, bin string, providers []*Provider) ([]*unstructured.Unstructured, error) {
	var all objects
	var managers []*manager
	defer func() {
		for _, manager := range managers {
			manager.ports.release()
		}
	}()
	clusterctl, err := readObjects(manifests(bin, "clusterctl"))
	if err != nil {
		return nil, err
	}
	all.add(clusterctl)
	caPEM, certDir, err := m.webhookCertificate()
	if err != nil {
		return nil, err
	}
	for _, provider := range providers {
		objects, err := readObjects(provider.Manifests)
		if err != nil {
			return nil, err
		}
		if len(provider.Command) == 0 {
			objects.unattended()
			all.add(objects)
			continue
		}
		manager, err := newManager(provider, certDir)
		if err != nil {
			return nil, err
		}
		managers = append(managers, manager)
		if err := objects.point(manager.ports.webhook(), caPEM); err != nil {
			return nil, fmt.Errorf("%s: %w", provider.Manifests, err)
		}
		all.add(objects)
	}
	if err := apply(ctx, m.Client, append(all.namespaces, all.crds...)...); err != nil {
		return nil, err
	}
	if err := established(ctx, m.Client, all.crds, m.Err); err != nil {
		return nil, err
	}
	for _, manager := range managers {
		manager.ports.release()
		if err := m.run(manager.Name, manager.Env, manager.command()); err != nil {
			return nil, err
		}
	}
	// After the CRDs, so that its garbage collector knows their kinds at once.
	if err := m.startControllerManager(ctx, bin); err != nil {
		return nil, err
	}
	for _, manager := range managers {
		if err := m.Wait(ctx, manager.ready); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", manager.Name, err)
		}
	}
	// The API server may take a moment to show kinds that are new.
	if err := m.Wait(ctx, func(ctx context.Context) error { return apply(ctx, m.Client, all.others...) }); err != nil {
		return nil, err
	}
	return all.webhooks, nil
}

// KubeconfigFile is the administrator's kubeconfig of the management cluster in
// a directory.
func KubeconfigFile(dir string) string { return filepath.Join(dir, "admin.kubeconfig") }

// Remove removes the directory of a management cluster that is not running.
func Remove(ctx context.Context, dir string) error {
	layout := local.Layout{Dir: dir}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := local.LockSupervisor(ctx, layout)
	if err != nil {
		return err
	}
	defer unlock()
	// Sockets lie elsewhere if the directory's path is too long for them.
	if sockets := filepath.Dir(layout.ControlSocket()); sockets != dir {
		if err := os.RemoveAll(sockets); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
