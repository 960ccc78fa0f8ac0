package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	utilfeature "k8s.io/apiserver/pkg/util/feature"

	"github.com/capiam/capiam/pkg/provider/local"
)

// runControlPlane runs etcd and kube-apiserver until ctx ends. The API server
// stops first, so that its last writes find etcd.
func runControlPlane(ctx context.Context, layout local.Layout, record *local.Record) error {
	etcd, err := startEtcd(ctx, layout)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer etcd.Close()
	serverCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case err := <-etcd.Err():
			stop(fmt.Errorf("etcd: %w", err))
		case <-serverCtx.Done():
		}
	}()
	err = runAPIServer(serverCtx, layout, record)
	if cause := context.Cause(serverCtx); cause != nil && !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// startEtcd starts a single member that listens on unix sockets only.
func startEtcd(ctx context.Context, layout local.Layout) (*embed.Etcd, error) {
	for _, socket := range []string{layout.EtcdSocket(), layout.EtcdPeerSocket()} {
		// Left by a process that was killed; the supervisor's lock says that
		// it is gone.
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	config := embed.NewConfig()
	config.Name = "default"
	config.Dir = layout.Etcd()
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: layout.EtcdSocket()}}
	config.ListenPeerUrls = []url.URL{{Scheme: "unix", Path: layout.EtcdPeerSocket()}}
	// The only member dials nobody, but the URLs must look like host:port.
	config.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
	config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	config.LogOutputs = []string{layout.Log("etcd")}
	config.WarningUnaryRequestDuration = time.Second
	// Old revisions are of no use here, and a full database stops a cluster.
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "10m"
	if err := os.MkdirAll(filepath.Dir(layout.Log("etcd")), 0o700); err != nil {
		return nil, err
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err = <-etcd.Err():
	case <-time.After(time.Minute):
		err = errors.New("not ready after a minute")
	case <-ctx.Done():
		err = ctx.Err()
	}
	etcd.Close()
	return nil, err
}

// apiServerArgs are kube-apiserver's flags. The token webhook is switched on by
// the same flag as on any control plane.
func apiServerArgs(layout local.Layout, record *local.Record) []string {
	services := record.ServiceCIDRs
	if len(services) == 0 {
		services = []string{"10.96.0.0/16"}
	}
	args := []string{
		"--etcd-servers=unix://" + layout.EtcdSocket(),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--secure-port=" + strconv.Itoa(record.Ports.APIServer),
		"--tls-cert-file=" + layout.PKI("apiserver.crt"),
		"--tls-private-key-file=" + layout.PKI("apiserver.key"),
		"--client-ca-file=" + layout.PKI("ca.crt"),
		"--requestheader-client-ca-file=" + layout.PKI("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + layout.PKI("sa.crt"),
		"--service-account-signing-key-file=" + layout.PKI("sa.key"),
		"--service-cluster-ip-range=" + strings.Join(services, ","),
		"--authorization-mode=Node,RBAC",
		"--profiling=false",
	}
	if _, err := os.Stat(layout.Webhook()); err == nil {
		args = append(args, "--authentication-token-webhook-config-file="+layout.Webhook())
	}
	return args
}

// runAPIServer does what kube-apiserver's own command does, with a context of
// ours: the command's would catch the signals of the whole process.
func runAPIServer(ctx context.Context, layout local.Layout, record *local.Record) error {
	server := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range server.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(apiServerArgs(layout, record)); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if err := server.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if err := logsapi.ValidateAndApply(server.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	completed, err := server.Complete(ctx)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("kube-apiserver: %w", utilerrors.NewAggregate(errs))
	}
	if err := app.Run(ctx, completed); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	return nil
}
