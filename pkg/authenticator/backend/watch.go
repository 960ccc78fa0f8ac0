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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
)

// object is what can be watched.
type object interface {
	runtime.Object
	metav1.Object
}

// source is where objects are listed and watched.
type source[T object] struct {
	// name is for the log.
	name  string
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	// selector is a field selector, or empty.
	selector string
	// expected is an empty object.
	expected T
}

// watcher follows objects of the API server. client-go's reflector does the
// work: it starts from a list, watches from there, and lists again with
// back-off whenever a watch is lost, so a change made meanwhile is never missed.
type watcher[T object] struct {
	source[T]
	log *slog.Logger
	// changed gets all the objects, by namespace/name, after each change. It
	// must not keep the map.
	changed func(objects map[string]T)
	// failed gets every failure to list or watch.
	failed func(err error)
	// resumed is called when a watch has begun. What it shows comes to changed,
	// if it is anything new.
	resumed func()
}

// shown is what the API server has last shown of a backend's objects.
type shown[T object] struct {
	// version counts the states shown; none has been at 0.
	version int
	objects []T
	// failure says why the API server shows nothing now.
	failure error
}

// resumed is the state once it is watched again: the failure is over, and what
// was shown last counts as shown again.
func (s shown[T]) resumed() shown[T] {
	if s.failure != nil && s.version > 0 {
		s.version++
	}
	s.failure = nil
	return s
}

// follow watches until ctx ends, and leaves the newest state in the mailbox. The
// metrics count the failures as those of aws-auth's watch; nil is for others.
func follow[T object](ctx context.Context, from source[T], box *mailbox[shown[T]], log *slog.Logger, m *metrics.Metrics) {
	w := watcher[T]{
		source: from, log: log,
		changed: func(objects map[string]T) {
			list := slices.Collect(maps.Values(objects))
			box.update(func(s shown[T]) shown[T] { return shown[T]{version: s.version + 1, objects: list} })
		},
		failed: func(err error) {
			if m != nil {
				m.WatchFailed()
			}
			box.update(func(s shown[T]) shown[T] { s.failure = err; return s })
		},
		resumed: func() { box.update(shown[T].resumed) },
	}
	w.run(ctx)
}

// errClosed is a watch that ended before it began.
var errClosed = errors.New("the API server, or what is in front of it, closes the connection")

// neverBegan is the type of watch that client-go returns in place of an error
// when a connection is closed without an answer.
var neverBegan = reflect.TypeOf(watch.NewEmptyWatch())

// run follows until ctx ends.
func (w *watcher[T]) run(ctx context.Context) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = w.selector
			list, err := w.list(ctx, o)
			if err != nil {
				w.report(ctx, err)
				return nil, err
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = w.selector
			events, err := w.watch(ctx, o)
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
	r := cache.NewReflectorWithOptions(lw, w.expected, &reflected[T]{watcher: w, objects: map[string]T{}}, cache.ReflectorOptions{
		Name:            "capiam-authenticator",
		TypeDescription: w.name,
		Logger:          &logger,
		// Quicker than client-go's 30 s at most: there is one of us per control
		// plane, the object is small, and logins depend on it.
		Backoff: &wait.Backoff{Duration: 50 * time.Millisecond, Cap: 5 * time.Second, Steps: 20, Factor: 1.5, Jitter: 0.5},
	})
	r.RunWithContext(ctx)
}

func (w *watcher[T]) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.log.Warn("watch failed", "resource", w.name, "error", err.Error())
	w.failed(err)
}

// reflected is the reflector's store. It is called from one goroutine.
type reflected[T object] struct {
	*watcher[T]
	objects map[string]T
}

var errAnotherType = errors.New("not an object of the type that is watched")

func key[T object](o any) (string, T, error) {
	u, ok := o.(T)
	if !ok {
		return "", u, fmt.Errorf("%w: %T", errAnotherType, o)
	}
	return u.GetNamespace() + "/" + u.GetName(), u, nil
}

func (r *reflected[T]) Add(o any) error { return r.Update(o) }

func (r *reflected[T]) Update(o any) error {
	k, u, err := key[T](o)
	if err != nil {
		return err
	}
	r.objects[k] = u
	r.changed(r.objects)
	return nil
}

func (r *reflected[T]) Delete(o any) error {
	if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
		delete(r.objects, tomb.Key)
	} else {
		k, _, err := key[T](o)
		if err != nil {
			return err
		}
		delete(r.objects, k)
	}
	r.changed(r.objects)
	return nil
}

func (r *reflected[T]) Replace(list []any, _ string) error {
	clear(r.objects)
	for _, o := range list {
		k, u, err := key[T](o)
		if err != nil {
			return err
		}
		r.objects[k] = u
	}
	r.changed(r.objects)
	return nil
}

func (r *reflected[T]) Resync() error { return nil }

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
