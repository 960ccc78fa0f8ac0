package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	// writeTimeout is how long one request about an object may take.
	writeTimeout = 5 * time.Second
	// firstPause is the first of pauses that double.
	firstPause = time.Second
	// maxRetryPause is the longest pause after a write that failed.
	maxRetryPause = 5 * time.Minute
	// maxRepeatPause is the longest pause before a verdict is written again
	// that somebody else keeps removing: aws-iam-authenticator's controller
	// writes statuses without conditions.
	maxRepeatPause = 24 * time.Hour
)

// statuses writes verdicts into their objects, one after the other and apart
// from the mappings, which never wait for a write. Of each object only the
// newest verdict counts, so that there is never more to do than there are
// objects.
type statuses struct {
	resource dynamic.ResourceInterface
	log      *slog.Logger
	// now is the clock that conditions go by.
	now func() time.Time

	mu      sync.Mutex
	records map[types.UID]*record
	wake    chan struct{}
}

// record is what is to be said of an object, and what has been.
type record struct {
	newest verdict
	// open says that it is still to be written, not before due.
	open     bool
	due      time.Time
	failures int

	// said is what was last written of which generation, or was found to
	// stand there, and times how often it was written.
	said       string
	generation int64
	times      int
	// pruned says that the API server dropped the condition: the CRD is
	// aws-iam-authenticator's, and must not be asked again and again.
	pruned bool
}

func newStatuses(resource dynamic.ResourceInterface, log *slog.Logger, now func() time.Time) *statuses {
	return &statuses{resource: resource, log: log, now: now, records: map[types.UID]*record{}, wake: make(chan struct{}, 1)}
}

// put has a verdict written, unless it stands in the object already. It does
// not wait.
func (s *statuses) put(v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[v.object.GetUID()]
	if r == nil {
		r = &record{}
		s.records[v.object.GetUID()] = r
	}
	before := r.newest
	r.newest = v
	switch {
	case v.standsIn(v.object):
		r.open, r.pruned = false, false
		r.hasSaid(v)
	case r.stays(v):
		r.open = false
	case r.open && before.text() == v.text() && before.object.GetGeneration() == v.object.GetGeneration():
		// Its time stays.
	default:
		r.open, r.failures, r.due = true, 0, time.Now()
		if r.saidAlready(v) {
			r.due = r.due.Add(doubled(firstPause, r.times, maxRepeatPause))
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// forget is for an object that is gone.
func (s *statuses) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[uid]; r != nil {
		r.open = false
		delete(s.records, uid)
	}
}

func (r *record) saidAlready(v verdict) bool {
	return r.said == v.text() && r.generation == v.object.GetGeneration()
}

func (r *record) hasSaid(v verdict) {
	if !r.saidAlready(v) {
		r.said, r.generation, r.times, r.pruned = v.text(), v.object.GetGeneration(), 0, false
	}
}

// stays tells whether a verdict that has been said is not to be said again
// although something else stands there: another server, which has not seen what
// this one has, may judge otherwise, and the two must not go on contradicting
// each other.
func (r *record) stays(v verdict) bool {
	return r.saidAlready(v) && v.namedIn(v.object) && (r.pruned || judged(v.object))
}

// run writes until ctx ends.
func (s *statuses) run(ctx context.Context) {
	failures := 0 // one after the other, whatever the object
	warned := map[metav1.StatusReason]bool{}
	for {
		r, v, wait := s.next()
		if r == nil {
			if !pause(ctx, wait, s.wake) {
				return
			}
			continue
		}
		result, err := s.write(ctx, v)
		if ctx.Err() != nil {
			return
		}
		s.done(r, v, result, err)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, errOutdated):
		default:
			s.failed(v, err, warned)
			if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
				continue // it is about this object only
			}
			failures++
			if !pause(ctx, doubled(firstPause, failures-1, maxRetryPause), nil) {
				return
			}
		}
	}
}

// next returns the verdict that has been due for longest, or none and how long
// there will be none; negative is until there is a new one.
func (s *statuses) next() (*record, verdict, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *record
	for _, r := range s.records {
		if r.open && (first == nil || r.due.Before(first.due)) {
			first = r
		}
	}
	if first == nil {
		return nil, verdict{}, -1
	}
	if wait := time.Until(first.due); wait > 0 {
		return nil, verdict{}, wait
	}
	return first, first.newest, 0
}

// errOutdated says that an object is no longer what was judged. The watch will
// show what it is.
var errOutdated = errors.New("the object has changed")

// write writes a verdict into its object and returns what then stands there.
func (s *statuses) write(ctx context.Context, v verdict) (*unstructured.Unstructured, error) {
	result, err := s.update(ctx, v, v.object)
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return result, err
	}
	// Somebody else has written, or it is gone, or has no status to write to.
	now, readErr := s.read(ctx, v.object.GetName())
	switch {
	case apierrors.IsNotFound(readErr):
		return nil, errOutdated
	case readErr != nil:
		return nil, fmt.Errorf("read again after %q: %w", err.Error(), readErr)
	case now.GetUID() != v.object.GetUID() || now.GetGeneration() != v.object.GetGeneration():
		return nil, errOutdated
	case v.standsIn(now):
		return now, nil
	}
	return s.update(ctx, v, now)
}

func (s *statuses) update(ctx context.Context, v verdict, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.resource.UpdateStatus(ctx, v.in(o, s.now()), metav1.UpdateOptions{})
}

func (s *statuses) read(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.resource.Get(ctx, name, metav1.GetOptions{})
}

// done records what became of a write. Meanwhile a newer verdict may have come,
// which is still to be written.
func (s *statuses) done(r *record, v verdict, result *unstructured.Unstructured, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		r.hasSaid(v)
		r.times++
		r.pruned = accepted(result) == nil
	case errors.Is(err, errOutdated):
	case r.newest.text() == v.text():
		r.failures++
		r.due = time.Now().Add(doubled(firstPause, r.failures-1, maxRetryPause))
		return
	default:
		return
	}
	switch {
	case r.newest == v:
		r.open = false
	case r.open && r.saidAlready(r.newest):
		// It was removed as soon as it was written.
		r.due = time.Now().Add(doubled(firstPause, r.times, maxRepeatPause))
	}
}

// failed logs a failure: once for each reason that somebody has to mend.
func (s *statuses) failed(v verdict, err error, warned map[metav1.StatusReason]bool) {
	reason := apierrors.ReasonForError(err)
	advice := map[metav1.StatusReason]string{
		metav1.StatusReasonForbidden: "let the server update iamidentitymappings/status",
		metav1.StatusReasonNotFound:  "install capiam's CRD of IAMIdentityMapping: the one there has no status subresource",
		metav1.StatusReasonInvalid:   "install capiam's CRD of IAMIdentityMapping: the one there does not take what is written",
	}[reason]
	level := slog.LevelDebug
	if advice != "" && !warned[reason] {
		level, warned[reason] = slog.LevelWarn, true
	}
	s.log.Log(context.Background(), level, "status not written", "object", v.object.GetName(), "error", err.Error(), "advice", advice)
}

// doubled is a pause after it has been doubled n times, at most most.
func doubled(first time.Duration, n int, most time.Duration) time.Duration {
	for range n {
		if first >= most {
			break
		}
		first *= 2
	}
	return min(first, most)
}

// pause waits for d, or as long as it takes if d is negative, but no longer than
// until wake says something. It returns false if ctx has ended.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	var over <-chan time.Time
	if d >= 0 {
		over = time.After(d)
	}
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-over:
	}
	return ctx.Err() == nil
}
