package authenticator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/reason"
)

const (
	// maxRequest is how large a TokenReview may be. An API server takes up to
	// 1 MiB of headers, so no bearer token it passes on is longer.
	maxRequest = 1<<20 + 64<<10
	// keptBuffer is how large a buffer may be to be used again, and how long a
	// request may be to need none of the largeAtOnce. No token of ours makes it
	// longer.
	keptBuffer = 64 << 10
	// largeAtOnce bounds the longer ones in memory, whoever sends them and
	// however slowly.
	largeAtOnce = 16
	// maxAtOnce bounds the logins being worked on, for each kind of token, so
	// that those waiting for a slow STS do not hold up those that need none.
	// Beyond it, answers are 503 at once instead of late.
	maxAtOnce = 1024
)

// handler serves /authenticate.
type handler struct {
	decider  *Decider
	metrics  *metrics.Metrics
	log      *slog.Logger
	scrubbed map[string]bool
	slots    map[string]chan struct{}
	large    chan struct{}
	buffers  sync.Pool
	now      func() time.Time
}

func newHandler(d *Decider, m *metrics.Metrics, log *slog.Logger, scrubbedAccounts []string) *handler {
	h := &handler{
		decider: d, metrics: m, log: log, scrubbed: map[string]bool{},
		slots: map[string]chan struct{}{}, large: make(chan struct{}, largeAtOnce), now: time.Now,
	}
	h.buffers.New = func() any { b := make([]byte, 0, 4096); return &b }
	for _, kind := range []string{metrics.TokenPresigned, metrics.TokenJWT, metrics.TokenOther} {
		h.slots[kind] = make(chan struct{}, maxAtOnce)
	}
	for _, a := range scrubbedAccounts {
		h.scrubbed[a] = true
	}
	return h
}

// ServeHTTP answers a TokenReview.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.now()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.malformed(w, start, http.StatusMethodNotAllowed, "expected POST")
		return
	}
	defer h.recovered(w, r)
	buf := h.buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keptBuffer {
			*buf = (*buf)[:0]
			h.buffers.Put(buf)
		}
	}()
	body, leave, err := h.readBody(w, r, (*buf)[:0])
	defer leave()
	*buf = body
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTooManyLarge):
		h.answer(w, r, body, "", start, Decision{Code: reason.Overloaded, Detail: err.Error(), Token: metrics.TokenOther})
		return
	case errors.As(err, &tooLarge):
		h.malformed(w, start, http.StatusRequestEntityTooLarge, "request body is too large")
		return
	case err != nil:
		h.malformed(w, start, http.StatusBadRequest, "request body could not be read")
		return
	case len(body) == 0:
		h.malformed(w, start, http.StatusBadRequest, "expected a request body")
		return
	}
	rev, err := parseReview(body)
	if err != nil {
		h.malformed(w, start, http.StatusBadRequest, err.Error())
		return
	}
	dec := h.decide(r.Context(), rev.Spec.Token)
	// The body's buffer is free now: the review holds copies.
	*buf = h.answer(w, r, body, rev.APIVersion, start, dec)
}

// answer records a decision and sends it, by way of a buffer that may be written
// over, and returns that.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, buf []byte, apiVersion string, start time.Time, dec Decision) []byte {
	took := h.now().Sub(start)
	scrubbed := dec.Identity != nil && h.scrubbed[dec.Identity.ARN.Account]
	h.metrics.Authenticated(metrics.Result(dec.Code), took)
	h.metrics.Decided(dec.Code, dec.Token)
	h.logDecision(r.Context(), &dec, scrubbed, took)
	if scrubbed && dec.Code != reason.OK {
		dec.Detail = "" // it may name the ARN
	}
	status := http.StatusOK
	out := buf[:0]
	if dec.Code.Trouble() {
		status = http.StatusServiceUnavailable
		out = appendTrouble(out, status, &dec)
	} else {
		out = appendReview(out, apiVersion, &dec, scrubbed)
	}
	header := w.Header()
	header["Content-Type"] = contentJSON
	w.WriteHeader(status)
	_, _ = w.Write(out) // nobody is left to tell
	return out
}

// recovered answers a request whose handling has panicked. What was thrown may
// hold anything, so only its type is logged, and an error of the runtime's own.
func (h *handler) recovered(w http.ResponseWriter, r *http.Request) {
	thrown := recover()
	if thrown == nil {
		return
	}
	what := fmt.Sprintf("%T", thrown)
	if err, ok := thrown.(runtime.Error); ok {
		what = err.Error()
	}
	h.log.Error("fault in this program: a login could not be judged", "panic", what, "stack", string(debug.Stack()))
	h.answer(w, r, nil, "", h.now(), Decision{Code: reason.Internal, Detail: "fault in the authenticator; its log says where", Token: metrics.TokenOther})
}

// decide judges a token if there is room.
func (h *handler) decide(ctx context.Context, token string) Decision {
	kind := Kind(token)
	slots := h.slots[kind]
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		return h.decider.decideKind(ctx, token, kind)
	default:
		return Decision{Code: reason.Overloaded, Detail: "too many logins at once", Token: kind}
	}
}

var contentJSON = []string{"application/json"}

var errTooManyLarge = errors.New("too many long requests at once")

// readBody reads a request's body into a buffer. The function it returns is to
// be called when the body is needed no more.
func (h *handler) readBody(w http.ResponseWriter, r *http.Request, b []byte) (_ []byte, leave func(), _ error) {
	leave = func() {}
	if r.ContentLength > maxRequest {
		return b, leave, &http.MaxBytesError{Limit: maxRequest}
	}
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	large := false
	for {
		if len(b) >= keptBuffer && !large {
			select {
			case h.large <- struct{}{}:
				large, leave = true, func() { <-h.large }
			default:
				return b, leave, errTooManyLarge
			}
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		room := cap(b)
		if !large {
			room = min(room, keptBuffer)
		}
		n, err := body.Read(b[len(b):room])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, leave, nil
		}
		if err != nil {
			return b, leave, err
		}
	}
}

func (h *handler) malformed(w http.ResponseWriter, start time.Time, status int, text string) {
	h.metrics.Authenticated(metrics.ResultMalformed, h.now().Sub(start))
	h.log.Debug("malformed request", "status", status, "problem", text)
	http.Error(w, text, status)
}

// logDecision writes the decision's one line.
func (h *handler) logDecision(ctx context.Context, dec *Decision, scrubbed bool, took time.Duration) {
	level, message := slog.LevelInfo, "access granted"
	switch {
	case dec.Code == reason.NotOurs:
		level, message = slog.LevelDebug, "token is not ours"
	case dec.Code.Trouble():
		level, message = slog.LevelError, "access not decided"
	case dec.Code != reason.OK:
		level, message = slog.LevelWarn, "access denied"
	}
	if !h.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("reason", string(dec.Code)),
		slog.String("token", dec.Token),
		slog.Duration("took", took))
	if id := dec.Identity; id != nil && !scrubbed {
		attrs = append(attrs, slog.String("arn", id.ARN.String()), slog.String("canonicalArn", id.Canonical))
		if id.AccessKeyID != "" {
			attrs = append(attrs, slog.String("accessKeyId", id.AccessKeyID))
		}
		if id.JTI != "" {
			attrs = append(attrs, slog.String("jti", id.JTI))
		}
	}
	if dec.Code == reason.OK {
		// Whom the fallback of his account maps has his ARN as a name.
		if !scrubbed || dec.Username != dec.Identity.Canonical {
			attrs = append(attrs, slog.String("username", dec.Username))
		}
		attrs = append(attrs, slog.Any("groups", groups(dec.Groups)), slog.String("backend", dec.Backend))
	} else if !scrubbed {
		attrs = append(attrs, slog.String("detail", dec.Detail))
	}
	// Not by LogAttrs, which looks for who called it each time.
	r := slog.NewRecord(h.now(), level, message, 0)
	r.AddAttrs(attrs...)
	_ = h.log.Handler().Handle(ctx, r)
}

// groups are a user's in the log: as slog would write them, without reflection.
type groups []string

// MarshalText implements encoding.TextMarshaler, for slog.TextHandler.
func (g groups) MarshalText() ([]byte, error) {
	n := 2
	for _, s := range g {
		n += len(s) + 1
	}
	b := append(make([]byte, 0, n), '[')
	for i, s := range g {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, s...)
	}
	return append(b, ']'), nil
}

// MarshalJSON implements json.Marshaler, for slog.JSONHandler.
func (g groups) MarshalJSON() ([]byte, error) { return appendStrings(nil, g), nil }
