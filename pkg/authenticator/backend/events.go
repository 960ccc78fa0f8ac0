package backend

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/mapping"
)

var events = schema.GroupVersionResource{Version: "v1", Resource: "events"}

const (
	component = "aws-iam-authenticator"
	// maxMessage is the API's limit for an event's message.
	maxMessage = 1024
	// eventPause is the least time between two events.
	eventPause = 5 * time.Second
	// maxEventName leaves room for what makes an event's name its own.
	maxEventName = 200
	// maxEvents is how many objects may wait for their event. If there is
	// something wrong with more, those that are told show what it is.
	maxEvents = 64
)

// Events puts what is wrong with an object where `kubectl describe` shows it.
// An event that cannot be written is tried again as long as it is the newest
// about its object.
type Events struct {
	client   dynamic.Interface
	instance string
	log      *slog.Logger
	now      func() time.Time

	mu     sync.Mutex
	topics map[string]*topic
	queue  []*topic
	wake   chan struct{}
}

// topic is one object of which something has been told, or is to be.
type topic struct {
	id string
	// told is the message last written, newest the one that should be; empty
	// says that the object is in order.
	told, newest string
	event        *unstructured.Unstructured
	// waiting says that it is in the queue, or being written.
	waiting bool
}

// NewEvents returns a writer of events; instance names this server, the node
// say. Run does the writing.
func NewEvents(client dynamic.Interface, instance string, log *slog.Logger, now func() time.Time) *Events {
	if now == nil {
		now = time.Now
	}
	return &Events{client: client, instance: instance, log: log, now: now, topics: map[string]*topic{}, wake: make(chan struct{}, 1)}
}

// Run writes events until ctx ends.
func (e *Events) Run(ctx context.Context) {
	failures := 0 // one after the other
	warned := false
	for {
		t, message, event := e.next()
		if t == nil {
			if !pause(ctx, -1, e.wake) {
				return
			}
			continue
		}
		err := e.write(ctx, event)
		if ctx.Err() != nil {
			return
		}
		e.done(t, message, err)
		if err == nil {
			failures = 0
		} else {
			failures++
			level := slog.LevelDebug
			if !warned && apierrors.IsForbidden(err) {
				level, warned = slog.LevelWarn, true
			}
			e.log.Log(ctx, level, "event not written", "error", err.Error())
		}
		if !pause(ctx, doubled(eventPause, failures, maxRetryPause), nil) {
			return
		}
	}
}

// Report has one event written about an object: what is wrong with it, or that
// it is in order again. The same text is not written twice in a row. It does not
// wait. A nil Events writes nothing.
func (e *Events) Report(object *unstructured.Unstructured, findings []mapping.Finding) {
	if e == nil {
		return
	}
	message := eventMessage(findings)
	e.mu.Lock()
	defer e.mu.Unlock()
	id := topicID(object)
	t := e.topics[id]
	if t == nil {
		t = &topic{id: id}
	}
	if t.newest == message {
		return
	}
	if !t.waiting && len(e.queue) >= maxEvents {
		e.log.Debug("event not written: too many are waiting", "object", id)
		return // the log and the metrics have it
	}
	t.newest = message
	if message == "" {
		t.event = e.event(object, "Normal", "MappingsInOrder", "all mappings are honoured again")
	} else {
		t.event = e.event(object, "Warning", "MappingNotHonoured", message)
	}
	e.topics[id] = t
	if t.waiting {
		return
	}
	t.waiting = true
	e.queue = append(e.queue, t)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Forget is for an object that is gone. A nil Events does nothing.
func (e *Events) Forget(object *unstructured.Unstructured) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.topics[topicID(object)]; t != nil {
		delete(e.topics, t.id)
		e.queue = slices.DeleteFunc(e.queue, func(q *topic) bool { return q == t })
	}
}

func topicID(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetNamespace() + "/" + object.GetName()
}

// next takes the first topic out of the queue that something is to be told of.
func (e *Events) next() (t *topic, message string, event *unstructured.Unstructured) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > 0 {
		t, e.queue = e.queue[0], e.queue[1:]
		if t.newest != t.told {
			return t, t.newest, t.event
		}
		e.settled(t)
	}
	return nil, "", nil
}

// done records what became of an event.
func (e *Events) done(t *topic, message string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		t.told = message
	}
	switch {
	case e.topics[t.id] != t: // the object is gone
	case t.newest != t.told:
		e.queue = append(e.queue, t)
	default:
		e.settled(t)
	}
}

// settled is for a topic of which nothing is to be told for now.
func (e *Events) settled(t *topic) {
	t.waiting, t.event = false, nil
	if t.told == "" {
		delete(e.topics, t.id)
	}
}

// write writes an event. One that was written although the answer got lost is
// there already.
func (e *Events) write(ctx context.Context, event *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := e.client.Resource(events).Namespace(event.GetNamespace()).Create(ctx, event, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (e *Events) event(object *unstructured.Unstructured, kind, reason, message string) *unstructured.Unstructured {
	now := e.now().UTC()
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	name := object.GetName()
	if len(name) > maxEventName {
		name = strings.TrimRight(name[:maxEventName], ".-")
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata": map[string]any{
			"name":      name + "." + strconv.FormatInt(now.UnixNano(), 16),
			"namespace": namespace,
		},
		"involvedObject": map[string]any{
			"apiVersion":      object.GetAPIVersion(),
			"kind":            object.GetKind(),
			"namespace":       object.GetNamespace(),
			"name":            object.GetName(),
			"uid":             string(object.GetUID()),
			"resourceVersion": object.GetResourceVersion(),
		},
		"type":               kind,
		"reason":             reason,
		"message":            message,
		"firstTimestamp":     now.Format(time.RFC3339),
		"lastTimestamp":      now.Format(time.RFC3339),
		"count":              int64(1),
		"source":             map[string]any{"component": component, "host": e.instance},
		"reportingComponent": component,
		"reportingInstance":  e.instance,
	}}
}

// eventMessage joins findings, errors first, as far as there is room.
func eventMessage(findings []mapping.Finding) string {
	var lines []string
	for _, severity := range []mapping.Severity{mapping.Error, mapping.Warning} {
		for _, f := range findings {
			if f.Severity == severity {
				lines = append(lines, f.String())
			}
		}
	}
	message := strings.Join(lines, "; ")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-4], "") + " ..."
	}
	return message
}
