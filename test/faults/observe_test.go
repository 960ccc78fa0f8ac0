package faults_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// healthClient is for the health port; it keeps no connections.
var healthClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the authenticator's health port.
func (w *world) get(ctx context.Context, path string) (code int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.healthURL(path), nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := healthClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// waitReadyz waits until the readiness page says something, with 200: what is
// wrong with mappings in force does not make the authenticator unready.
func (w *world) waitReadyz(text string) {
	w.t.Helper()
	eventually(w.t, "/readyz says "+strconv.Quote(text), func(ctx context.Context) bool {
		code, body, err := w.get(ctx, "/readyz")
		if err == nil && code != http.StatusOK {
			w.t.Errorf("/readyz: %d\n%s", code, body)
		}
		return err == nil && strings.Contains(body, text)
	})
}

// metrics returns the authenticator's metrics, by name and labels as they are
// written.
func (w *world) metrics() map[string]float64 {
	w.t.Helper()
	_, body, err := w.get(w.t.Context(), "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if strings.HasPrefix(name, "#") {
			continue
		}
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			all[strings.TrimPrefix(name, "aws_iam_authenticator_")] = f
		}
	}
	return all
}

// waitMetric waits until a metric is in order.
func (w *world) waitMetric(name string, ok func(float64) bool) {
	w.t.Helper()
	eventually(w.t, "metric "+name, func(context.Context) bool {
		value, known := w.metrics()[name]
		return known && ok(value)
	})
}

func isZero(f float64) bool   { return f == 0 }
func isOne(f float64) bool    { return f == 1 }
func positive(f float64) bool { return f > 0 }

// decisions returns how many presigned and JWT logins the authenticator has
// judged.
func (w *world) decisions(kind string) int {
	w.t.Helper()
	total := 0.0
	for name, value := range w.metrics() {
		if strings.HasPrefix(name, "decisions_total{") && strings.Contains(name, `token="`+kind+`"`) {
			total += value
		}
	}
	return int(total)
}

// waitEvent waits for an event about aws-auth.
func (w *world) waitEvent(kind, reason, text string) {
	w.t.Helper()
	eventually(w.t, "event "+reason+" about aws-auth", func(ctx context.Context) bool {
		list, err := w.kube.CoreV1().Events(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=ConfigMap,involvedObject.name=" + awsAuth,
		})
		if err != nil {
			return false
		}
		for _, e := range list.Items {
			if e.Type == kind && e.Reason == reason && strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}
