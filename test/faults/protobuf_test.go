package faults_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/authenticator/backend"
)

// awsAuthIsProtobuf holds the client of the EKSConfigMap backend against the API
// server: what comes is aws-auth, and not as JSON.
func (w *world) awsAuthIsProtobuf(t *testing.T, want map[string]string) {
	t.Helper()
	var mu sync.Mutex
	var came []string
	cfg := w.adminConfig()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil {
				mu.Lock()
				came = append(came, resp.Header.Get("Content-Type"))
				mu.Unlock()
			}
			return resp, err
		})
	})
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := backend.NewConfigMapClient(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=aws-auth"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Data["mapRoles"] != want["mapRoles"] {
		t.Errorf("%d objects are listed, or not what was written", len(list.Items))
	}
	events, err := client.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=aws-auth"})
	if err != nil {
		t.Fatal(err)
	}
	events.Stop()
	mu.Lock()
	defer mu.Unlock()
	if types := []string{"application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch"}; !slices.Equal(came, types) {
		t.Errorf("aws-auth comes as %q", came)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
