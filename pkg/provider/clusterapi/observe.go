package clusterapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Done tells whether what is waited for has come, and if not, what has not: it
// goes on after "waiting for". The state is nil if there is no such Cluster.
type Done func(s *State) (done bool, waitingFor string)

// AwaitOptions say what to wait for.
type AwaitOptions struct {
	Done Done
	// Report is given a line whenever something changes that a person cares
	// about; it may be nil.
	Report func(line string)
}

// pollInterval is how often Await looks. A watch of each kind would tell no
// sooner than a person reads, and would have to be made anew when it breaks.
const pollInterval = time.Second

// readTimeout bounds one look, so that a connection that hangs is not waited for
// until all the time is over.
const readTimeout = 20 * time.Second

// Await follows a cluster until what is waited for has come. It rides out that
// the management cluster cannot be reached for a while, but not that it refuses.
//
// When ctx runs out of time the error is a *WaitError, which says what is still
// wrong. A Cluster that is not there ends the waiting, with ErrNotFound, unless
// Done is content with that.
func (m *Management) Await(ctx context.Context, key types.NamespacedName, o AwaitOptions) (*State, error) {
	w := &wait{
		key:     key,
		context: m.Context,
		options: o,
		read:    func(ctx context.Context) (*State, error) { return m.State(ctx, key) },
		missing: m.missing,
		now:     time.Now,
		sleep:   sleep,
	}
	return w.run(ctx)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// wait is one call of Await.
type wait struct {
	key     types.NamespacedName
	context string
	options AwaitOptions

	read func(context.Context) (*State, error)
	// missing finds problems that no condition tells.
	missing func(context.Context, *State) []Problem

	now   func() time.Time
	sleep func(context.Context, time.Duration)

	// last is the last state that could be read, nil before there is one.
	last       *State
	waitingFor string
	past       history
	// unreachable is since when the management cluster cannot be read, and why.
	unreachable    time.Time
	unreachableErr error
}

func (w *wait) run(ctx context.Context) (*State, error) {
	w.waitingFor = "the management cluster to answer"
	w.past = history{deleting: map[string]time.Time{}, ready: map[string]bool{}}
	for ctx.Err() == nil {
		s, err := w.look(ctx)
		switch {
		case err == nil, errors.Is(err, ErrNotFound):
			w.answered()
			if err != nil {
				s = nil
			}
			w.see(s)
			var done bool
			if done, w.waitingFor = w.options.Done(s); done {
				return s, nil
			}
			if err != nil {
				return nil, fmt.Errorf("waiting for %s: %w", w.waitingFor, err)
			}
		case ctx.Err() != nil:
			// What was seen before says more than that the time was up.
		case !transient(err):
			return w.last, err
		default:
			w.failed(err)
		}
		w.sleep(ctx, pollInterval)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		// Whoever called it off does not want to hear what is wrong.
		return w.last, context.Cause(ctx)
	}
	return w.last, w.timedOut(context.Cause(ctx))
}

func (w *wait) look(ctx context.Context) (*State, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return w.read(ctx)
}

// see reports what is new.
func (w *wait) see(s *State) {
	now := w.now()
	for _, line := range changes(w.last, s, w.past, now) {
		w.report(line)
	}
	w.past.add(s, now)
	w.last = s
}

func (w *wait) failed(err error) {
	w.unreachableErr = err
	if w.unreachable.IsZero() {
		w.unreachable = w.now()
		w.report(fmt.Sprintf("the management cluster cannot be read, trying again: %s", firstLine(err)))
	}
}

func (w *wait) answered() {
	if !w.unreachable.IsZero() {
		w.report(fmt.Sprintf("the management cluster answers again after %s", duration.HumanDuration(w.now().Sub(w.unreachable))))
	}
	w.unreachable, w.unreachableErr = time.Time{}, nil
}

func (w *wait) report(line string) {
	if w.options.Report != nil {
		w.options.Report(line)
	}
}

func (w *wait) timedOut(cause error) error {
	e := &WaitError{Cluster: w.key, WaitingFor: w.waitingFor, Unreachable: w.unreachableErr, Cause: cause}
	if w.last != nil {
		e.Problems = w.last.Problems()
		if w.unreachableErr == nil {
			// The time that was given is over, but the reason is worth some
			// seconds more.
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			e.Problems = append(w.missing(ctx, w.last), e.Problems...)
		}
	}
	e.Look = lookAt(w.context, w.key, e.Problems)
	return e
}

// WaitError says what was waited for in vain, and what is wrong.
//
// It does not unwrap to the context's error: whoever reports a context that ran
// out by its cause alone would lose the rest.
type WaitError struct {
	Cluster    types.NamespacedName
	WaitingFor string
	// Problems are what is wrong with which object, as far as it is known.
	Problems []Problem
	// Look are commands that show more.
	Look []string
	// Unreachable is why the management cluster could not be read at the end.
	Unreachable error
	// Cause is why the waiting ended.
	Cause error
}

func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Cluster %s: gave up waiting for %s: %v", e.Cluster, e.WaitingFor, e.Cause)
	if e.Unreachable != nil {
		fmt.Fprintf(&b, "\n  the management cluster cannot be read: %s", firstLine(e.Unreachable))
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s", p)
	}
	for i, command := range e.Look {
		if i == 0 {
			b.WriteString("\nLook at:")
		}
		fmt.Fprintf(&b, "\n  %s", command)
	}
	return b.String()
}

// transient tells whether an error may go away by itself: a management cluster's
// control plane is rolled, too, and then connections break.
func transient(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
			apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if strings.Contains(err.Error(), "getting credentials: ") {
		// client-go's words for a credential plugin that failed; it has no
		// type for it.
		return false
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
