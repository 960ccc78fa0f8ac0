package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// api is as much of an API server as a watcher of aws-auth needs: it lists none
// and sends each state to whoever watches. It speaks JSON and protobuf, as it is
// asked to.
type api struct {
	server *httptest.Server
	events chan event

	mu      sync.Mutex
	version int
}

// event is one event of the watch, by media type.
type event map[string][]byte

func newAPI() *api {
	a := &api{events: make(chan event), version: 1}
	a.server = httptest.NewServer(a)
	return a
}

func (a *api) url() string { return a.server.URL }

func (a *api) close() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// prepare makes the event of a state; send waits until the watch has it.
func (a *api) prepare(data map[string]string) (send func(context.Context) error, err error) {
	kind := "MODIFIED"
	a.mu.Lock()
	first := a.version == 1
	a.mu.Unlock()
	if first {
		kind = "ADDED"
	}
	e, err := a.event(kind, data)
	return func(ctx context.Context) error {
		select {
		case a.events <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, err
}

// event returns an event about aws-auth, in each media type.
func (a *api) event(kind string, data map[string]string) (event, error) {
	a.mu.Lock()
	a.version++
	version := strconv.Itoa(a.version)
	a.mu.Unlock()
	object := &corev1.ConfigMap{Data: data, ObjectMeta: metav1.ObjectMeta{
		Name: "aws-auth", Namespace: "kube-system", UID: "1", ResourceVersion: version,
	}}
	e := event{}
	for _, info := range scheme.Codecs.SupportedMediaTypes() {
		if info.StreamSerializer == nil || !offered(info.MediaType) {
			continue
		}
		inner, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), object)
		if err != nil {
			return nil, err
		}
		var frame bytes.Buffer
		stream := scheme.Codecs.EncoderForVersion(info.StreamSerializer.Serializer, corev1.SchemeGroupVersion)
		err = stream.Encode(&metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: inner}}, info.StreamSerializer.NewFrameWriter(&frame))
		if err != nil {
			return nil, err
		}
		e[info.MediaType] = frame.Bytes()
	}
	return e, nil
}

func offered(mediaType string) bool {
	return mediaType == runtime.ContentTypeJSON || mediaType == runtime.ContentTypeProtobuf
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// As API servers do: what the client names first that there is.
	mediaType, parameter := runtime.ContentTypeJSON, ""
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(accepted), ";")
		if offered(name) {
			mediaType = name
			break
		}
	}
	info, _ := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
	encoder := scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
	watch := r.URL.Query().Get("watch") != ""
	if watch && mediaType == runtime.ContentTypeProtobuf {
		parameter = ";stream=watch"
	}
	if r.URL.Query().Get("sendInitialEvents") != "" {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = encoder.Encode(&metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity}, w)
		return
	}
	w.Header().Set("Content-Type", mediaType+parameter)
	if !watch {
		_ = encoder.Encode(&corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, w)
		return
	}
	flush, _ := w.(http.Flusher)
	w.WriteHeader(http.StatusOK)
	flush.Flush()
	for {
		select {
		case e := <-a.events:
			if _, err := w.Write(e[mediaType]); err != nil {
				return
			}
			flush.Flush()
		case <-r.Context().Done():
			return
		}
	}
}
