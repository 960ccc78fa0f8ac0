package authenticator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/stsclient"
	"github.com/capiam/capiam/pkg/authenticator/webidentity"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// benchHandler is the webhook's handler with a table of so many entries, the
// last of which is Alice's.
func benchHandler(b *testing.B, w *world, entries int, cache time.Duration) *handler {
	b.Helper()
	p, _ := iam.LookupPartition("aws")
	parser, err := presigned.NewParser(p)
	if err != nil {
		b.Fatal(err)
	}
	m := metrics.New()
	sts, err := stsclient.New(stsclient.Options{ClusterID: clusterID, Partition: "aws", Network: w.network, Observe: m.STSCalled})
	if err != nil {
		b.Fatal(err)
	}
	jwt := webidentity.New(webidentity.Options{
		Issuers:   []webidentity.Issuer{{URL: w.state.IssuerURL(accountA), Account: accountA}},
		Audiences: []string{clusterID}, Partition: "aws", Network: w.network,
	})
	b.Cleanup(jwt.Close)
	b.Cleanup(sts.Close)
	store := backend.NewStore([]string{mapping.BackendMountedFile}, backend.StoreOptions{Partition: "aws", Metrics: m})
	var table mapping.Mappings
	for i := range entries - 1 {
		table.Roles = append(table.Roles, mapping.Entry{ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/R%d", i), Username: fmt.Sprintf("r%d", i), Groups: []string{"g"}})
	}
	table.Users = []mapping.Entry{{ARN: userARN, Username: "alice", Groups: []string{"admins"}}}
	store.Set(mapping.BackendMountedFile, table, nil, "")
	d := NewDecider(DeciderOptions{Presigned: parser, STS: sts, JWT: jwt, Store: store, Metrics: m, CacheTTL: cache, CacheSize: 100})
	return newHandler(d, m, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
}

func benchLogin(b *testing.B, h http.Handler, token string) {
	body, _ := json.Marshal(map[string]any{"apiVersion": apiV1beta1, "kind": kindReview, "spec": map[string]any{"token": token}})
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/authenticate", bytes.NewReader(body))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if !bytes.Contains(rec.Body.Bytes(), []byte(`"authenticated":true`)) {
			b.Fatal(rec.Body.String())
		}
	}
}

// BenchmarkLogin is a login as the handler does it, the call of the simulated
// STS (in the same process) included.
func BenchmarkLogin(b *testing.B) {
	for _, entries := range []int{10, 10_000} {
		w := newWorld(b)
		for _, tc := range []struct {
			name, token string
			cache       time.Duration
		}{
			{"presigned", w.presign(userARN, clusterID), 0},
			{"presigned-cached", w.presign(userARN, clusterID), time.Hour},
			{"rs256", w.jwt(userARN, "", "RS256"), 0},
			{"es384", w.jwt(userARN, "", "ES384"), 0},
		} {
			b.Run(fmt.Sprintf("%s/%d", tc.name, entries), func(b *testing.B) {
				benchLogin(b, benchHandler(b, w, entries, tc.cache), tc.token)
			})
		}
	}
}

// BenchmarkRefusal is what a token costs that is refused before STS is asked.
func BenchmarkRefusal(b *testing.B) {
	w := newWorld(b)
	h := benchHandler(b, w, 10, 0)
	for name, token := range map[string]string{
		"not-ours": "eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "wrong-host": presignedURL("https://sts.bogus-1.amazonaws.com/?" + query(nil)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := h.decider.Decide(context.Background(), token); d.Code == "ok" {
					b.Fatal(d)
				}
			}
		})
	}
}
