package authenticator

import (
	"context"
	"net/http"
	"strings"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	authv1beta1 "k8s.io/api/authentication/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/stssim"
)

// TestWhatTheAPIServerReads reads the answers with the client that the API
// server's webhook is made of.
func TestWhatTheAPIServerReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.awsAuth(map[string]string{"mapUsers": goodUsers})
	w.start(func(s *config.Settings) { s.TokenCacheTTL = 0 })
	w.waitReady()
	scheme := runtime.NewScheme()
	if err := authv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := authv1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := func(gv schema.GroupVersion) *rest.RESTClient {
		c, err := rest.UnversionedRESTClientForConfigAndClient(&rest.Config{
			Host: w.webhook + "/authenticate",
			ContentConfig: rest.ContentConfig{
				NegotiatedSerializer: serializer.NegotiatedSerializerWrapper(runtime.SerializerInfo{Serializer: serializer.NewCodecFactory(scheme).LegacyCodec(gv)}),
			},
		}, w.http)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx := context.Background()

	v1 := client(authv1.SchemeGroupVersion)
	var got authv1.TokenReview
	review := &authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: w.presign(userARN, clusterID), Audiences: []string{"https://kubernetes.default.svc"}}}
	if err := v1.Post().Body(review).Do(ctx).Into(&got); err != nil || got.Status.User.Username != "alice" || got.Status.Audiences != nil {
		t.Errorf("got %+v, %v", got.Status, err)
	}
	var beta authv1beta1.TokenReview
	if err := client(authv1beta1.SchemeGroupVersion).Post().Body(&authv1beta1.TokenReview{Spec: authv1beta1.TokenReviewSpec{Token: review.Spec.Token}}).Do(ctx).Into(&beta); err != nil || beta.Status.User.Username != "alice" {
		t.Errorf("got %+v, %v", beta.Status, err)
	}
	w.sts.SetFaults(stssim.Faults{{Kind: stssim.FaultThrottle, Action: "GetCallerIdentity"}})
	before := w.sts.Calls().Actions["GetCallerIdentity"]
	var status int
	err := v1.Post().Body(review).Do(ctx).StatusCode(&status).Into(&got)
	if status != http.StatusServiceUnavailable || err == nil || !strings.Contains(err.Error(), "sts_throttled") {
		t.Errorf("status %d: %v", status, err)
	}
	if calls := w.sts.Calls().Actions["GetCallerIdentity"] - before; calls != 1 {
		t.Errorf("one login has become %d calls of STS", calls)
	}
}
