package backend

import (
	"context"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// memory is an API server's IAMIdentityMappings and events without a network, so
// that days of retrying pass in no time. It has what writing a status and an event
// takes; kubefake has the rest.
type memory struct {
	dynamic.Interface // nil

	mu      sync.Mutex
	version int
	objects map[string]*unstructured.Unstructured
	events  []*unstructured.Unstructured
	changed chan struct{}

	// refusal, if not nil, is the answer to writes; hold, if not nil, keeps
	// them waiting until it is closed.
	refusal func(name string) error
	hold    chan struct{}
	// original makes the CRD that of aws-iam-authenticator, which knows
	// canonicalARN and userID only.
	original bool
	// asked counts writes that were asked for, and reads the reads.
	asked, reads int
}

// maxAsked ends what would go on for ever, in a test where time stands still
// while anybody is busy.
const maxAsked = 5000

func newMemory() *memory {
	return &memory{objects: map[string]*unstructured.Unstructured{}, changed: make(chan struct{})}
}

// put creates or replaces an object's spec.
func (m *memory) put(name string, spec map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "iamauthenticator.k8s.aws/v1alpha1", "kind": "IAMIdentityMapping"}}
	if old := m.objects[name]; old != nil {
		o = old.DeepCopy()
	} else {
		o.SetName(name)
		o.SetUID(types.UID("uid-" + strconv.Itoa(m.version)))
		o.SetCreationTimestamp(metav1.Now())
	}
	o.Object["spec"] = spec
	o.SetGeneration(o.GetGeneration() + 1)
	m.store(o)
}

// touch changes an object, but not its generation.
func (m *memory) touch(name string, change func(o *unstructured.Unstructured)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[name].DeepCopy()
	change(o)
	m.store(o)
}

func (m *memory) store(o *unstructured.Unstructured) {
	m.version++
	o.SetResourceVersion(strconv.Itoa(m.version))
	m.objects[o.GetName()] = o
	m.notify()
}

func (m *memory) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	m.notify()
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) get(name string) *unstructured.Unstructured {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[name]
}

// counts returns how many writes and reads there have been.
func (m *memory) counts() (asked, reads int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked, m.reads
}

// told returns the messages of the events, oldest first.
func (m *memory) told() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, e := range m.events {
		message, _, _ := unstructured.NestedString(e.Object, "message")
		all = append(all, message)
	}
	return all
}

// shows calls f with all objects now and after each change, until ctx ends. An
// object that has not changed is the same pointer, as with the reflector.
func (m *memory) shows(ctx context.Context, f func(objects []*unstructured.Unstructured)) {
	for ctx.Err() == nil {
		m.mu.Lock()
		changed := m.changed
		list := make([]*unstructured.Unstructured, 0, len(m.objects))
		for _, o := range m.objects {
			list = append(list, o)
		}
		m.mu.Unlock()
		f(list)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func (m *memory) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return memoryClient{memory: m}
}

type memoryClient struct {
	dynamic.NamespaceableResourceInterface // nil
	*memory
}

func (c memoryClient) Namespace(string) dynamic.ResourceInterface { return c }

// admit answers for a write before it is done.
func (m *memory) admit(ctx context.Context, name string) error {
	m.mu.Lock()
	m.asked++
	asked, hold := m.asked, m.hold
	var err error
	if m.refusal != nil {
		err = m.refusal(name)
	}
	m.mu.Unlock()
	if asked > maxAsked {
		<-ctx.Done()
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c memoryClient) UpdateStatus(ctx context.Context, o *unstructured.Unstructured, _ metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	if err := c.admit(ctx, o.GetName()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[o.GetName()]
	switch {
	case old == nil || old.GetUID() != o.GetUID():
		return nil, apierrors.NewNotFound(identityMappings.GroupResource(), o.GetName())
	case old.GetResourceVersion() != o.GetResourceVersion():
		return nil, apierrors.NewConflict(identityMappings.GroupResource(), o.GetName(), nil)
	}
	next := old.DeepCopy()
	status := map[string]any{}
	for k, v := range o.DeepCopy().Object["status"].(map[string]any) {
		if !c.original || slices.Contains([]string{"canonicalARN", "userID"}, k) {
			status[k] = v
		}
	}
	next.Object["status"] = status
	// What changes nothing is not shown to anybody.
	if !unstructuredEqual(old, next) {
		c.store(next)
	}
	return c.objects[o.GetName()], nil
}

func (c memoryClient) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if o := c.objects[name]; o != nil {
		return o, nil
	}
	return nil, apierrors.NewNotFound(identityMappings.GroupResource(), name)
}

func (c memoryClient) Create(ctx context.Context, o *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if err := c.admit(ctx, o.GetName()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.GetName() == o.GetName() {
			return nil, apierrors.NewAlreadyExists(events.GroupResource(), o.GetName())
		}
	}
	c.events = append(c.events, o)
	return o, nil
}

func unstructuredEqual(a, b *unstructured.Unstructured) bool {
	left, _ := a.MarshalJSON()
	right, _ := b.MarshalJSON()
	return slices.Equal(left, right)
}
