package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
)

// watcher follows objects of the API server. client-go's reflector does the
// work: it starts from a list, watches from there, and lists again with
// back-off whenever a watch is lost, so a change made meanwhile is never missed.
type watcher struct {
	// name is for the log.
	name     string
	resource dynamic.ResourceInterface
	// selector is a field selector, or empty.
	selector string
	log      *slog.Logger
	// changed gets all the objects, by namespace/name, after each change. It
	// must not keep the map.
	changed func(objects map[string]*unstructured.Unstructured)
	// failed gets every failure to list or watch.
	failed func(err error)
	// resumed is called when a watch has begun. What it shows comes to changed,
	// if it is anything new.
	resumed func()
}

// shown is what the API server has last shown of a backend's objects.
type shown struct {
	// version counts the states shown; none has been at 0.
	version int
	objects []*unstructured.Unstructured
	// failure says why the API server shows nothing now.
	failure error
}

// resumed is the state once it is watched again: the failure is over, and what
// was shown last counts as shown again.
func (s shown) resumed() shown {
	if s.failure != nil && s.version > 0 {
		s.version++
	}
	s.failure = nil
	return s
}

// follow watches until ctx ends, and leaves the newest state in the mailbox. The
// metrics count the failures as those of aws-auth's watch; nil is for others.
func follow(ctx context.Context, name string, resource dynamic.ResourceInterface, selector string, box *mailbox[shown], log *slog.Logger, m *metrics.Metrics) {
	w := watcher{
		name: name, resource: resource, selector: selector, log: log,
		changed: func(objects map[string]*unstructured.Unstructured) {
			list := slices.Collect(maps.Values(objects))
			box.update(func(s shown) shown { return shown{version: s.version + 1, objects: list} })
		},
		failed: func(err error) {
			if m != nil {
				m.WatchFailed()
			}
			box.update(func(s shown) shown { s.failure = err; return s })
		},
		resumed: func() { box.update(shown.resumed) },
	}
	w.run(ctx)
}

// errClosed is a watch that ended before it began.
var errClosed = errors.New("the API server, or what is in front of it, closes the connection")

// neverBegan is the type of watch that client-go returns in place of an error
// when a connection is closed without an answer.
var neverBegan = reflect.TypeOf(watch.NewEmptyWatch())

// run follows until ctx ends.
func (w *watcher) run(ctx context.Context) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = w.selector
			list, err := w.resource.List(ctx, o)
			if err != nil {
				w.report(ctx, err)
				return nil, err
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = w.selector
			events, err := w.resource.Watch(ctx, o)
			// An API server that cannot begin a watch with a list says so, and
			// is asked for a list.
			switch {
			case o.SendInitialEvents != nil && apierrors.IsInvalid(err):
			case err != nil:
				w.report(ctx, err)
			case reflect.TypeOf(events) == neverBegan:
				w.report(ctx, errClosed)
			default:
				w.resumed()
			}
			return events, err
		},
	}
	logger := logr.Discard()
	r := cache.NewReflectorWithOptions(lw, &unstructured.Unstructured{}, &reflected{watcher: w, objects: map[string]*unstructured.Unstructured{}}, cache.ReflectorOptions{
		Name:            "capiam-authenticator",
		TypeDescription: w.name,
		Logger:          &logger,
		// Quicker than client-go's 30 s at most: there is one of us per control
		// plane, the object is small, and logins depend on it.
		Backoff: &wait.Backoff{Duration: 50 * time.Millisecond, Cap: 5 * time.Second, Steps: 20, Factor: 1.5, Jitter: 0.5},
	})
	r.RunWithContext(ctx)
}

func (w *watcher) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.log.Warn("watch failed", "resource", w.name, "error", err.Error())
	w.failed(err)
}

// reflected is the reflector's store. It is called from one goroutine.
type reflected struct {
	*watcher
	objects map[string]*unstructured.Unstructured
}

var errNotUnstructured = errors.New("not an object")

func key(o any) (string, *unstructured.Unstructured, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return "", nil, fmt.Errorf("%w: %T", errNotUnstructured, o)
	}
	return u.GetNamespace() + "/" + u.GetName(), u, nil
}

func (r *reflected) Add(o any) error { return r.Update(o) }

func (r *reflected) Update(o any) error {
	k, u, err := key(o)
	if err != nil {
		return err
	}
	r.objects[k] = u
	r.changed(r.objects)
	return nil
}

func (r *reflected) Delete(o any) error {
	if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
		delete(r.objects, tomb.Key)
	} else {
		k, _, err := key(o)
		if err != nil {
			return err
		}
		delete(r.objects, k)
	}
	r.changed(r.objects)
	return nil
}

func (r *reflected) Replace(list []any, _ string) error {
	clear(r.objects)
	for _, o := range list {
		k, u, err := key(o)
		if err != nil {
			return err
		}
		r.objects[k] = u
	}
	r.changed(r.objects)
	return nil
}

func (r *reflected) Resync() error { return nil }

// mailbox holds the newest value only: a table that is rewritten 50 times a
// second is read as often as there is time for.
type mailbox[T any] struct {
	mu    sync.Mutex
	value T
	ready chan struct{}
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{ready: make(chan struct{}, 1)} }

func (m *mailbox[T]) update(change func(T) T) {
	m.mu.Lock()
	m.value = change(m.value)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox[T]) get() T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value
}
