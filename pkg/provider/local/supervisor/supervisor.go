package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/provider/local"
)

// ControlPlane runs etcd and kube-apiserver in this process until ctx ends, and
// returns when both have stopped.
type ControlPlane func(ctx context.Context, layout local.Layout, record *local.Record) error

// Options say what to supervise.
type Options struct {
	Layout local.Layout
	// ControlPlane runs etcd and kube-apiserver.
	ControlPlane ControlPlane
	// ControllerManager and Authenticator are the programs run as children,
	// with the arguments that come before the cluster's own.
	ControllerManager []string
	Authenticator     []string
	// Log is the supervisor's own log.
	Log *slog.Logger
}

// Run runs the cluster until ctx ends, somebody asks for a stop, or the control
// plane ends by itself, which is an error. It returns when every part has
// stopped.
func Run(ctx context.Context, o Options) error {
	record, err := local.ReadRecord(o.Layout)
	if err != nil {
		return err
	}
	unlock, err := local.LockSupervisor(ctx, o.Layout)
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.Layout.PrepareSockets(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &supervisor{
		layout: o.Layout, record: record, log: o.Log, stop: stop,
		started: time.Now().UTC(),
		control: local.ComponentStatus{Name: "kube-apiserver", State: local.StateStarting, PID: os.Getpid()},
	}
	if s.sts, err = startSTS(ctx, o.Layout, record, o.Log); err != nil {
		return err
	}
	s.children = [...]*child{
		controllerManagerChild: s.controllerManager(o.ControllerManager),
		authenticatorChild:     s.authenticator(o.Authenticator),
	}
	return s.run(ctx, o.ControlPlane)
}

// Places in supervisor.children.
const (
	controllerManagerChild = iota
	authenticatorChild
)

// supervisor is one running cluster.
type supervisor struct {
	layout  local.Layout
	record  *local.Record
	log     *slog.Logger
	stop    context.CancelFunc
	started time.Time
	sts     *simulatedSTS

	children [2]*child

	mu      sync.Mutex
	ready   bool
	control local.ComponentStatus
}

// run starts the parts and waits for their end. The children stop before the
// API server they talk to, the simulated STS last.
func (s *supervisor) run(ctx context.Context, controlPlane ControlPlane) error {
	listener, err := listenControl(s.layout)
	if err != nil {
		return errors.Join(err, s.sts.close())
	}
	api := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = api.Serve(listener) })

	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlane()
	planeDone := make(chan error, 1)
	go func() { planeDone <- controlPlane(planeCtx, s.layout, s.record) }()

	childCtx, stopChildren := context.WithCancel(ctx)
	defer stopChildren()
	var children sync.WaitGroup
	controllerManager, authenticator := s.children[controllerManagerChild], s.children[authenticatorChild]
	children.Go(func() {
		if s.waitReady(childCtx) {
			children.Go(func() { authenticator.run(childCtx, s.log) })
			controllerManager.run(childCtx, s.log)
		}
	})

	children.Go(func() { s.renewCertificates(childCtx) })

	var planeErr error
	stopped := false
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case planeErr = <-planeDone:
		stopped = true
		if planeErr == nil {
			planeErr = errors.New("it ended by itself")
		}
		planeErr = fmt.Errorf("control plane: %w", planeErr)
		s.log.Error("control plane ended", "error", planeErr)
	}
	stopChildren()
	children.Wait()
	stopPlane()
	if !stopped {
		planeErr = <-planeDone
	}
	_ = api.Close()
	serving.Wait()
	return errors.Join(planeErr, s.sts.close())
}

// renewEvery is how often certificates are looked at. They are renewed with a
// third of a year to go, so an hour more or less is nothing.
const renewEvery = time.Hour

// renewCertificates renews the servers' certificates when they are due. Both
// servers read them anew from disk.
func (s *supervisor) renewCertificates(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed, err := local.EnsureKeys(s.layout, s.record, time.Now)
		switch {
		case err != nil:
			s.log.Error("cannot renew certificates", "error", err)
		case changed:
			s.log.Info("certificates renewed")
		}
	}
}

// waitReady polls /readyz until it answers ok, and tells whether it did.
func (s *supervisor) waitReady(ctx context.Context) bool {
	client, err := local.AdminHTTPClient(s.layout)
	if err != nil {
		s.log.Error("cannot ask the API server", "error", err)
		return false
	}
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.record.APIServerURL()+"/readyz", nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.mu.Lock()
				s.ready = true
				s.control.State = local.StateRunning
				s.mu.Unlock()
				s.log.Info("API server is ready", "after", time.Since(s.started).Round(time.Millisecond))
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// controllers are the ones a control plane without nodes needs: aggregated
// roles get their rules, namespaces get service accounts and finish deleting,
// owned objects go with their owners, and the DaemonSet gets a status.
const controllers = "clusterrole-aggregation-controller,namespace-controller,serviceaccount-controller," +
	"serviceaccount-token-controller,garbage-collector-controller,root-ca-certificate-publisher-controller," +
	"daemonset-controller"

func (s *supervisor) controllerManager(command []string) *child {
	kubeconfig := s.layout.ControllerManager()
	args := append(command[1:len(command):len(command)],
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(s.record.Ports.ControllerManager),
		"--tls-cert-file="+s.layout.PKI("apiserver.crt"),
		"--tls-private-key-file="+s.layout.PKI("apiserver.key"),
		"--leader-elect=false",
		"--controllers="+controllers,
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+s.layout.PKI("sa.key"),
		"--root-ca-file="+s.layout.PKI("ca.crt"),
		"--profiling=false",
	)
	return newChild("kube-controller-manager", command[0], args, os.Environ(), s.layout)
}

func (s *supervisor) authenticator(command []string) *child {
	args := append(command[1:len(command):len(command)], s.record.AuthenticatorArgs(s.layout)...)
	// The proxy leads the names of AWS to the simulated STS, and nowhere else.
	env := append(os.Environ(),
		"HTTPS_PROXY="+s.record.STSProxyURL(),
		"NO_PROXY=127.0.0.1,localhost",
		"SSL_CERT_FILE="+s.layout.STSCA(),
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_REGION="+s.record.Region,
	)
	c := newChild("authenticator", command[0], args, env, s.layout)
	c.config = s.layout.AuthenticatorConfig()
	return c
}

func newChild(name, path string, args, env []string, l local.Layout) *child {
	return &child{
		name: name, path: path, args: args, env: env, log: l.Log(name),
		status: local.ComponentStatus{Name: name, State: local.StateStarting},
	}
}
