package install

import (
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// FieldManager is who the API server says wrote what this package wrote.
const FieldManager = "capiam"

const (
	// requestTimeout ends a request that nobody answers. Nothing here watches.
	requestTimeout = 30 * time.Second
	// pollInterval is how often something that is waited for is looked at.
	pollInterval = 500 * time.Millisecond
)

// Installer writes to one cluster. It is safe for use by several goroutines,
// but two installations at a time make no sense.
type Installer struct {
	log        *slog.Logger
	config     *rest.Config
	kube       kubernetes.Interface
	dynamic    dynamic.Interface
	discovery  discovery.CachedDiscoveryInterface
	mapper     meta.ResettableRESTMapper
	now        func() time.Time
	poll       time.Duration
	staleAfter time.Duration
}

// New returns an Installer for the cluster that cfg leads to. It does not
// connect yet. Warnings of the API server go to log, as does what Helm has to
// say.
func New(cfg *rest.Config, log *slog.Logger) (*Installer, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = warnings{log}
	if cfg.Timeout == 0 {
		cfg.Timeout = requestTimeout
	}
	if cfg.QPS == 0 {
		// client-go's 5 a second would be what most of an installation waits
		// for.
		cfg.QPS, cfg.Burst = 100, 200
	}
	fail := func(err error) (*Installer, error) { return nil, fmt.Errorf("make client for %s: %w", cfg.Host, err) }
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return fail(err)
	}
	kube, err := kubernetes.NewForConfigAndClient(cfg, client)
	if err != nil {
		return fail(err)
	}
	dyn, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return fail(err)
	}
	cached := memory.NewMemCacheClient(kube.Discovery())
	return &Installer{
		log:        log,
		config:     cfg,
		kube:       kube,
		dynamic:    dyn,
		discovery:  cached,
		mapper:     restmapper.NewDeferredDiscoveryRESTMapper(cached),
		now:        time.Now,
		poll:       pollInterval,
		staleAfter: staleAfter,
	}, nil
}

// resource is where an object of a kind is served.
func (i *Installer) resource(u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := u.GroupVersionKind()
	m, err := i.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		// The kind may be new.
		i.mapper.Reset()
		m, err = i.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, err
	}
	return i.client(m.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, u.GetNamespace()), nil
}

func (i *Installer) client(r schema.GroupVersionResource, namespaced bool, namespace string) dynamic.ResourceInterface {
	if namespaced {
		return i.dynamic.Resource(r).Namespace(namespace)
	}
	return i.dynamic.Resource(r)
}

// describe names an object in messages.
func describe(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// warnings logs what the API server warns of, instead of client-go's writing
// it to stderr.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeader(code int, _ string, text string) {
	if code == 299 && text != "" {
		w.log.Warn("the API server warns", "warning", text)
	}
}
