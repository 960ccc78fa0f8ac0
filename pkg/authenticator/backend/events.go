package backend

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

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
)

// Events puts what is wrong with an object where `kubectl describe` shows it.
// It is a courtesy: an event that cannot be written is dropped.
type Events struct {
	client   dynamic.Interface
	instance string
	log      *slog.Logger
	now      func() time.Time

	mu   sync.Mutex
	last map[string]string
	jobs chan *unstructured.Unstructured
}

// NewEvents returns a writer of events; instance names this server, the node
// say. Run does the writing.
func NewEvents(client dynamic.Interface, instance string, log *slog.Logger, now func() time.Time) *Events {
	if now == nil {
		now = time.Now
	}
	return &Events{client: client, instance: instance, log: log, now: now, last: map[string]string{}, jobs: make(chan *unstructured.Unstructured, 16)}
}

// Run writes events until ctx ends.
func (e *Events) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-e.jobs:
			wait, cancel := context.WithTimeout(ctx, 10*time.Second)
			_, err := e.client.Resource(events).Namespace(job.GetNamespace()).Create(wait, job, metav1.CreateOptions{})
			cancel()
			if err != nil {
				e.log.Debug("event not written", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(eventPause):
		}
	}
}

// Report writes one event about an object: what is wrong with it, or that it is
// in order again. The same text is not written twice in a row. A nil Events
// writes nothing.
func (e *Events) Report(object *unstructured.Unstructured, findings []mapping.Finding) {
	if e == nil {
		return
	}
	message := eventMessage(findings)
	id := object.GetKind() + "/" + object.GetNamespace() + "/" + object.GetName()
	e.mu.Lock()
	same := e.last[id] == message
	_, reported := e.last[id]
	if message == "" {
		delete(e.last, id)
	} else {
		e.last[id] = message
	}
	e.mu.Unlock()
	if same || message == "" && !reported {
		return
	}
	kind, reason := "Warning", "MappingNotHonoured"
	if message == "" {
		kind, reason, message = "Normal", "MappingsInOrder", "all mappings are honoured again"
	}
	job := e.event(object, kind, reason, message)
	select {
	case e.jobs <- job:
	default: // the log and the metrics have it
	}
}

func (e *Events) event(object *unstructured.Unstructured, kind, reason, message string) *unstructured.Unstructured {
	now := e.now().UTC()
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata": map[string]any{
			"name":      object.GetName() + "." + strconv.FormatInt(now.UnixNano(), 16),
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
