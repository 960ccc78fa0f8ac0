// Package metrics is every metric the authenticator has, in one place: those of
// aws-iam-authenticator under their own names, so that dashboards and alerts go
// on working, and ours. Each label has a set of values that no client can make
// larger.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/capiam/capiam/pkg/authenticator/reason"
)

const namespace = "aws_iam_authenticator"

// Results of authenticate_latency_seconds, as the original spells them.
const (
	ResultMalformed  = "malformed_request"
	ResultInvalid    = "invalid_token"
	ResultSTSError   = "sts_error"
	ResultThrottling = "sts_throttling"
	ResultUnknown    = "uknown_user" // sic
	ResultSuccess    = "success"
)

// Token kinds, the label of decisions_total.
const (
	TokenPresigned = "presigned"
	TokenJWT       = "jwt"
	TokenOther     = "other"
)

// Metrics are the authenticator's metrics, with a registry of their own.
type Metrics struct {
	registry *prometheus.Registry

	latency   map[string]prometheus.Observer
	decisions map[reason.Code]map[string]prometheus.Counter

	stsResponses   *prometheus.CounterVec
	stsFailures    *prometheus.CounterVec
	stsThrottling  *prometheus.CounterVec
	stsLatency     *prometheus.HistogramVec
	watchFailures  prometheus.Counter
	fileFailures   prometheus.Counter
	EC2Calls       prometheus.Counter
	dynamicLatency *prometheus.HistogramVec
	dynamicEnabled prometheus.Gauge
	dynamicOnly    prometheus.Gauge

	cache       map[string]prometheus.Counter
	keyFetches  *prometheus.CounterVec
	mappings    prometheus.Gauge
	findings    *prometheus.GaugeVec
	reloads     *prometheus.CounterVec
	loadSeconds prometheus.Histogram
	healthy     *prometheus.GaugeVec
	certExpiry  prometheus.Gauge
}

// New returns the metrics, all registered.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "authenticate_latency_seconds", Help: "Authenticate call latency", Buckets: prometheus.DefBuckets,
	}, []string{"result"})
	cache := counter("token_cache_total", "Tokens looked up among the verified ones.", "result")
	decisions := counter("decisions_total", "Logins decided, by reason code and kind of token.", "reason", "token")
	m := &Metrics{
		registry:      prometheus.NewRegistry(),
		latency:       map[string]prometheus.Observer{},
		decisions:     map[reason.Code]map[string]prometheus.Counter{},
		stsResponses:  counter("sts_responses_total", "Sts responses with error code label", "ResponseCode", "StsRegion"),
		stsFailures:   counter("sts_connection_failures_total", "Sts call could not succeed or timedout", "StsRegion"),
		stsThrottling: counter("sts_throttling_total", "Sts call throttled", "StsRegion"),
		stsLatency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "sts_latency_seconds", Help: "Time STS took to answer.", Buckets: prometheus.DefBuckets,
		}, []string{"StsRegion"}),
		watchFailures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "configmap_watch_failures_total", Help: "EKS Configmap watch failures"}),
		fileFailures:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "dynamicfile_failures_total", Help: "Dynamic file failures"}),
		EC2Calls:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "ec2_describe_instances_calls_total", Help: "Number of EC2 describe instances calls."}),
		dynamicLatency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "dynamic_e2e_latency_seconds", Help: "Dynamic file end to end latency", Buckets: []float64{1, 3, 5, 10, 15, 20, 30, 60},
		}, []string{"type"}),
		dynamicEnabled: gauge("dynamic_file_enabled", "Dynamic file in backend mode is enabled"),
		dynamicOnly:    gauge("dynamic_file_only", "Only dynamic file in backend mode"),
		cache:          map[string]prometheus.Counter{},
		keyFetches:     counter("issuer_key_fetches_total", "Fetches of token issuers' keys.", "issuer", "result"),
		mappings:       gauge("mappings", "Principals, permission sets and accounts that are mapped."),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "mapping_findings", Help: "Things wrong in the mappings in use, by backend and severity.",
		}, []string{"backend", "severity"}),
		reloads: counter("mapping_reloads_total", "Changes of mappings taken over.", "backend"),
		loadSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "mapping_reload_seconds", Help: "Time from the change's arrival to its being in force.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		healthy: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "backend_healthy", Help: "1 if the backend's newest state is in force, 0 if something older is.",
		}, []string{"backend"}),
		certExpiry: gauge("certificate_expiry_seconds", "When the serving certificate expires, in seconds since 1970."),
	}
	m.registry.MustRegister(latency, decisions, m.stsResponses, m.stsFailures, m.stsThrottling, m.stsLatency,
		m.watchFailures, m.fileFailures, m.EC2Calls, m.dynamicLatency, m.dynamicEnabled, m.dynamicOnly,
		cache, m.keyFetches, m.mappings, m.findings, m.reloads, m.loadSeconds, m.healthy, m.certExpiry,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range []string{ResultMalformed, ResultInvalid, ResultSTSError, ResultThrottling, ResultUnknown, ResultSuccess} {
		m.latency[r] = latency.WithLabelValues(r)
	}
	for _, r := range []string{"hit", "miss", "shared"} {
		m.cache[r] = cache.WithLabelValues(r)
	}
	for _, code := range reason.All() {
		m.decisions[code] = map[string]prometheus.Counter{}
		for _, kind := range []string{TokenPresigned, TokenJWT, TokenOther} {
			m.decisions[code][kind] = decisions.WithLabelValues(string(code), kind)
		}
	}
	return m
}

// Handler serves the metrics, and counts how often in promhttp_*, as the
// original does.
func (m *Metrics) Handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
}

// Gatherer returns the registry, for tests.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Authenticated records an answered request: the original's result, and how
// long it took.
func (m *Metrics) Authenticated(result string, took time.Duration) {
	if o := m.latency[result]; o != nil {
		o.Observe(took.Seconds())
	}
}

// Decided records a decision.
func (m *Metrics) Decided(code reason.Code, kind string) {
	if c := m.decisions[code][kind]; c != nil {
		c.Inc()
	}
}

// Result returns the original's result for a decision: what it would say of the
// same token in the same trouble. It leaves a date in the future to STS. What it
// does not know counts as what is nearest: an issuer of JWTs is STS's, and a login
// that found no room, or was not waited for, is one that STS did not judge in time.
func Result(code reason.Code) string {
	switch code {
	case reason.OK:
		return ResultSuccess
	case reason.STSThrottled:
		return ResultThrottling
	case reason.STSUnreachable, reason.STSRefused, reason.STSBadAnswer, reason.WrongCluster, reason.ClockAhead,
		reason.IssuerUnreachable, reason.Overloaded, reason.Internal:
		return ResultSTSError
	case reason.NotMapped, reason.UserIDMismatch, reason.ReservedName, reason.TemplateUnfilled, reason.NotReady, reason.EC2Unreachable:
		return ResultUnknown
	}
	return ResultInvalid
}

// STSCalled records a call to STS. The region is one of a host that was looked
// up in the partition's own set, so the label is bounded.
func (m *Metrics) STSCalled(region string, status int, took time.Duration) {
	if status == 0 {
		m.stsFailures.WithLabelValues(region).Inc()
		return
	}
	m.stsResponses.WithLabelValues(strconv.Itoa(status), region).Inc()
	m.stsLatency.WithLabelValues(region).Observe(took.Seconds())
}

// STSThrottled records that a call was throttled.
func (m *Metrics) STSThrottled(region string) { m.stsThrottling.WithLabelValues(region).Inc() }

// Cache records a look at the cache of verified tokens: "hit", "miss" or
// "shared" (another request was verifying the same token).
func (m *Metrics) Cache(result string) {
	if c := m.cache[result]; c != nil {
		c.Inc()
	}
}

// KeysFetched records a fetch of an issuer's keys; issuers are those of the
// configuration.
func (m *Metrics) KeysFetched(issuer string, ok bool) {
	result := "success"
	if !ok {
		result = "failure"
	}
	m.keyFetches.WithLabelValues(issuer, result).Inc()
}

// WatchFailed records a watch on the API server that failed.
func (m *Metrics) WatchFailed() { m.watchFailures.Inc() }

// DynamicFileFailed records a dynamic file that could not be taken over.
func (m *Metrics) DynamicFileFailed() { m.fileFailures.Inc() }

// DynamicFileMode records whether a dynamic file is one of the backends.
func (m *Metrics) DynamicFileMode(enabled, only bool) {
	m.dynamicEnabled.Set(bool01(enabled))
	m.dynamicOnly.Set(bool01(only))
}

// DynamicFileLatency records how old the dynamic file's content was when it came
// into force.
func (m *Metrics) DynamicFileLatency(age time.Duration) {
	m.dynamicLatency.WithLabelValues("dynamic_file").Observe(age.Seconds())
}

// BackendModeLatency records how old the file of backends was when it came into
// force.
func (m *Metrics) BackendModeLatency(age time.Duration) {
	m.dynamicLatency.WithLabelValues("dynamic_backend_mode").Observe(age.Seconds())
}

// Reloaded records a change of mappings that came into force.
func (m *Metrics) Reloaded(backend string, took time.Duration) {
	m.reloads.WithLabelValues(backend).Inc()
	m.loadSeconds.Observe(took.Seconds())
}

// Mapped records how many principals, permission sets and accounts are mapped.
func (m *Metrics) Mapped(n int) { m.mappings.Set(float64(n)) }

// Findings records what is wrong in a backend's mappings.
func (m *Metrics) Findings(backend string, warnings, errors int) {
	m.findings.WithLabelValues(backend, "warning").Set(float64(warnings))
	m.findings.WithLabelValues(backend, "error").Set(float64(errors))
}

// Healthy records whether a backend's newest state is in force.
func (m *Metrics) Healthy(backend string, ok bool) {
	m.healthy.WithLabelValues(backend).Set(bool01(ok))
}

// Forget takes out what is said of a backend that is no longer one.
func (m *Metrics) Forget(backend string) {
	m.healthy.DeleteLabelValues(backend)
	m.findings.DeletePartialMatch(prometheus.Labels{"backend": backend})
}

// CertificateExpires records when the serving certificate expires.
func (m *Metrics) CertificateExpires(at time.Time) { m.certExpiry.Set(float64(at.Unix())) }

func bool01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
