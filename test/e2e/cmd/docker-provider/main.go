// Command docker-provider is the manager of Cluster API's Docker provider with
// another thing in Docker's place: its controllers and webhooks are the
// provider's own, unmodified, and the containers they ask for are machines made
// of namespaces (package machines).
//
// The harness starts it inside the lab's network; see package lab.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/controllers/remote"
	"sigs.k8s.io/cluster-api/feature"
	infrav1beta1 "sigs.k8s.io/cluster-api/test/infrastructure/docker/api/v1beta1" //nolint:staticcheck // what users still have
	infrav1 "sigs.k8s.io/cluster-api/test/infrastructure/docker/api/v1beta2"
	"sigs.k8s.io/cluster-api/test/infrastructure/docker/controllers"
	infrawebhooks "sigs.k8s.io/cluster-api/test/infrastructure/docker/webhooks"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/capiam/capiam/test/e2e/machines"
)

func main() {
	klog.InitFlags(nil)
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "docker-provider:", err)
		os.Exit(1)
	}
}

// options are the flags: those of the provider's own manager that a harness
// needs, and where the machines are.
type options struct {
	lab            string
	webhookPort    int
	webhookCertDir string
	healthAddr     string
	diagnostics    string
}

func parse(args []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet("docker-provider", pflag.ContinueOnError)
	flags.AddGoFlagSet(flag.CommandLine) // klog's, and controller-runtime's --kubeconfig
	feature.MutableGates.AddFlag(flags)
	flags.StringVar(&o.lab, "lab", machines.DefaultDir, "the lab's directory")
	flags.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the webhooks")
	flags.StringVar(&o.webhookCertDir, "webhook-cert-dir", "", "directory with tls.crt and tls.key")
	flags.StringVar(&o.healthAddr, "health-addr", ":9440", "address of the probes")
	flags.StringVar(&o.diagnostics, "diagnostics-address", "0", "address of the metrics, 0 for none")
	flags.Bool("insecure-diagnostics", true, "serve the metrics without authentication: always")
	return o, flags.Parse(args)
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, clusterv1.AddToScheme,
		infrav1beta1.AddToScheme, infrav1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctrl.SetLogger(klog.Background())
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	ofClusters, err := labels.NewRequirement(clusterv1.ClusterNameLabel, selection.Exists, nil)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		HealthProbeBindAddress: o.healthAddr,
		Metrics:                server.Options{BindAddress: o.diagnostics},
		// The cluster cache reads kubeconfig secrets from this cache; every other
		// read of a secret goes to the API server, as in the provider's own main.
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.NewSelector().Add(*ofClusters)},
		}},
		Client: client.Options{Cache: &client.CacheOptions{
			DisableFor:   []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
			Unstructured: true,
		}},
		WebhookServer: webhook.NewServer(webhook.Options{Port: o.webhookPort, CertDir: o.webhookCertDir}),
	})
	if err != nil {
		return err
	}
	for _, add := range []func(string) error{
		func(name string) error {
			return manager.AddReadyzCheck(name, manager.GetWebhookServer().StartedChecker())
		},
		func(name string) error {
			return manager.AddHealthzCheck(name, manager.GetWebhookServer().StartedChecker())
		},
	} {
		if err := add("webhook"); err != nil {
			return err
		}
	}
	if err := addControllers(ctx, manager, o.lab); err != nil {
		return err
	}
	if err := addWebhooks(manager); err != nil {
		return err
	}
	return manager.Start(ctx)
}

// addControllers adds the provider's controllers for its Docker kinds. Its Dev
// kinds are the same machines under another name, and are left out.
func addControllers(ctx context.Context, manager ctrl.Manager, lab string) error {
	machines, err := machines.Open(lab)
	if err != nil {
		return err
	}
	containers := newContainers(machines)
	secrets, err := client.New(manager.GetConfig(), client.Options{
		HTTPClient: manager.GetHTTPClient(),
		Cache:      &client.CacheOptions{Reader: manager.GetCache()},
	})
	if err != nil {
		return err
	}
	clusters, err := clustercache.SetupWithManager(ctx, manager, clustercache.Options{
		SecretClient: secrets,
		Client: clustercache.ClientOptions{
			QPS: 20, Burst: 30,
			UserAgent: remote.DefaultClusterAPIUserAgent("docker-provider"),
			Cache: clustercache.ClientCacheOptions{
				DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
			},
		},
	}, controller.Options{MaxConcurrentReconciles: 10})
	if err != nil {
		return fmt.Errorf("cluster cache: %w", err)
	}
	// Reconciling waits for kubeadm.
	patient := controller.Options{MaxConcurrentReconciles: 10, ReconciliationTimeout: 6 * time.Minute}
	if err := (&controllers.DockerMachineReconciler{
		Client: manager.GetClient(), ContainerRuntime: containers, ClusterCache: clusters,
	}).SetupWithManager(ctx, manager, patient); err != nil {
		return fmt.Errorf("DockerMachine: %w", err)
	}
	if err := (&controllers.DockerClusterReconciler{
		Client: manager.GetClient(), ContainerRuntime: containers,
	}).SetupWithManager(ctx, manager, patient); err != nil {
		return fmt.Errorf("DockerCluster: %w", err)
	}
	if err := (&controllers.DockerMachineTemplateReconciler{
		Client: manager.GetClient(), ContainerRuntime: containers,
	}).SetupWithManager(ctx, manager, patient); err != nil {
		return fmt.Errorf("DockerMachineTemplate: %w", err)
	}
	return nil
}

func addWebhooks(manager ctrl.Manager) error {
	for name, webhook := range map[string]interface{ SetupWebhookWithManager(ctrl.Manager) error }{
		"DockerCluster":         &infrawebhooks.DockerCluster{},
		"DockerClusterTemplate": &infrawebhooks.DockerClusterTemplate{},
		"DockerMachine":         &infrawebhooks.DockerMachine{},
		"DockerMachineTemplate": &infrawebhooks.DockerMachineTemplate{},
		"DevCluster":            &infrawebhooks.DevCluster{},
		"DevClusterTemplate":    &infrawebhooks.DevClusterTemplate{},
		"DevMachine":            &infrawebhooks.DevMachine{},
		"DevMachineTemplate":    &infrawebhooks.DevMachineTemplate{},
	} {
		if err := webhook.SetupWebhookWithManager(manager); err != nil {
			return fmt.Errorf("webhook of %s: %w", name, err)
		}
	}
	return nil
}
