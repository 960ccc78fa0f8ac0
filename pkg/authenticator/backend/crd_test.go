package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

const day = 24 * time.Hour

// server is a CRD backend on a memory, without the reflector.
type server struct {
	*CRD
	store *Store
	log   bytes.Buffer
	stop  func()
}

// serve starts a server. It is to be stopped before its bubble ends.
func serve(m *memory) *server {
	s := &server{}
	log := slog.New(slog.NewTextHandler(&s.log, nil)) // from Info on
	s.store = NewStore([]string{mapping.BackendCRD}, StoreOptions{Partition: "aws"})
	ev := NewEvents(m, "test", log, nil)
	s.CRD = NewCRD(CRDOptions{Client: m, Store: s.store, Partition: "aws", Log: log, Events: ev})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.statuses.run(ctx) })
	wg.Go(func() { m.shows(ctx, s.take) })
	wg.Go(func() { ev.Run(ctx) })
	s.stop = func() { cancel(); wg.Wait() }
	return s
}

func (s *server) maps(t *testing.T, arn string) bool {
	t.Helper()
	return s.username(t, arn) != ""
}

// username returns whom an ARN is mapped to, empty for nobody.
func (s *server) username(t *testing.T, arn string) string {
	t.Helper()
	a, err := iam.ParseARN(arn)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.store.Lookup(mapping.Principal{ARN: a})
	if err != nil {
		return ""
	}
	return m.Username.String()
}

// statusOf returns "reason canonicalARN" of an object, or "".
func statusOf(m *memory, name string) string {
	o := m.get(name)
	c := accepted(o)
	if c == nil {
		return ""
	}
	canonical, _, _ := unstructured.NestedString(o.Object, "status", "canonicalARN")
	return fmt.Sprint(c["reason"], " ", canonical)
}

func spec(arn, username string) map[string]any {
	return map[string]any{"arn": arn, "username": username}
}

// Two servers of which only one has seen the last good state judge an object
// differently. Each says so once.
func TestTwoServersDoNotContradictEachOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		broken map[string]any
		maps   bool // the one that has not seen it maps A by the younger
	}{
		"username": {spec(role("path/A"), "{{Nonsense}}"), false},
		"arn":      {spec("hello", "a"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.put("a", spec(role("path/A"), "a"))
				one := serve(m)
				defer func() { one.stop() }()
				time.Sleep(day)
				m.put("a", tc.broken)
				m.put("b", spec(role("A"), "b")) // a duplicate to one of them
				time.Sleep(time.Second)
				two := serve(m)
				defer two.stop()
				time.Sleep(day)
				before, _ := m.counts()
				if before > 10 {
					t.Errorf("%d writes", before)
				}
				want := "Invalid " + canonicalARN(fmt.Sprint(tc.broken["arn"]))
				if got := statusOf(m, "a"); got != want {
					t.Errorf("the status is %q, want %q", got, want)
				}
				time.Sleep(100 * day)
				if after, _ := m.counts(); after != before {
					t.Errorf("%d more writes", after-before)
				}
				// The first has seen what was good.
				if !one.maps(t, role("A")) || two.maps(t, role("A")) != tc.maps {
					t.Errorf("A is mapped by the first: %v, by the second: %v", one.maps(t, role("A")), two.maps(t, role("A")))
				}
				// Mended, it is good to both.
				m.put("a", spec(role("A"), "a"))
				time.Sleep(time.Minute)
				if got, want := statusOf(m, "a"), "Accepted "+canonicalARN(role("A")); got != want {
					t.Errorf("mended, the status is %q, want %q", got, want)
				}
				if got, want := statusOf(m, "b"), "Duplicate "+canonicalARN(role("A")); got != want {
					t.Errorf("the younger's is %q, want %q", got, want)
				}
			})
		})
	}
}

// An object that makes no sense holds its ARN's place, also if nobody knows what it
// said before: a younger one does not come into force by a restart.
func TestBrokenOlderHoldsItsPlace(t *testing.T) {
	t.Parallel()
	typed := spec(role("A"), "old")
	typed["groups"] = "view"
	for name, tc := range map[string]struct {
		broken map[string]any
		maps   bool // the younger is in force after a restart
	}{
		"username":          {spec(role("path/A"), "{{Nonsense}}"), false},
		"no username":       {spec(role("a"), ""), false},
		"groups":            {typed, false},
		"ARN":               {spec("hello", "old"), true},
		"somebody else":     {spec(role("B"), "{{Nonsense}}"), true},
		"another partition": {spec("arn:aws-cn:iam::111122223333:role/A", "old"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.put("old", spec(role("A"), "old"))
				first := serve(m)
				time.Sleep(time.Minute)
				m.put("young", spec(role("A"), "young"))
				time.Sleep(time.Minute)
				m.put("old", tc.broken)
				time.Sleep(time.Minute)
				if got := first.username(t, role("A")); got != "old" {
					t.Errorf("before the restart A is %s", got)
				}
				first.stop()
				second := serve(m)
				defer second.stop()
				time.Sleep(time.Minute)
				want, reason := "", "Duplicate"
				if tc.maps {
					want, reason = "young", "Accepted"
				}
				if got := second.username(t, role("A")); got != want {
					t.Errorf("after the restart A is %q, want %q", got, want)
				}
				if got := statusOf(m, "young"); !strings.HasPrefix(got, reason) {
					t.Errorf("the younger says %q, want %s", got, reason)
				}
				said := fmt.Sprint(accepted(m.get("old"))["message"], accepted(m.get("young"))["message"], second.store.Status()[0].Findings)
				for _, part := range []string{"no younger IAMIdentityMapping of its ARN is in force", "old names the same principal, and is not in order: mend or delete it"} {
					if !tc.maps && strings.Count(said, part) != 2 {
						t.Errorf("%q is not said in the status and on the page: %s", part, said)
					}
				}
				m.put("old", spec(role("A"), "mended"))
				time.Sleep(time.Minute)
				if got := second.username(t, role("A")); got != "mended" {
					t.Errorf("mended, A is %s", got)
				}
				m.delete("old")
				time.Sleep(time.Minute)
				if got := second.username(t, role("A")); got != "young" {
					t.Errorf("when the older is gone, A is %s", got)
				}
			})
		})
	}
}

// While an image is replaced, the original's controller answers each change by a
// status of its own: the ARN with its path, and nothing else.
func TestOriginalBesideOurs(t *testing.T) {
	t.Parallel()
	for name, original := range map[string]bool{"our CRD": false, "the original's CRD": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.original = original
				m.put("a", spec(role("path/A"), "a"))
				m.put("b", spec(role("path/B"), "{{Nonsense}}"))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go m.shows(ctx, func(objects []*unstructured.Unstructured) {
					for _, o := range objects {
						arn, _, _ := unstructured.NestedString(o.Object, "spec", "arn")
						next := o.DeepCopy()
						next.Object["status"] = map[string]any{"canonicalARN": strings.ToLower(arn)}
						// A conflict comes back as a change.
						memoryClient{memory: m}.UpdateStatus(ctx, next, metav1.UpdateOptions{})
					}
				})
				ours := serve(m)
				defer ours.stop()
				time.Sleep(100 * day)
				cancel()
				synctest.Wait()
				asked, _ := m.counts()
				t.Logf("%d writes in 100 days", asked)
				// For each of the two objects some twenty writes at first, later one a
				// day, each with the original's answers.
				if asked > 1000 {
					t.Errorf("%d writes", asked)
				}
				time.Sleep(2 * day)
				if original {
					return // which has no room for conditions
				}
				for name, want := range map[string]string{"a": "Accepted " + canonicalARN(role("A")), "b": "Invalid " + canonicalARN(role("B"))} {
					if got := statusOf(m, name); got != want {
						t.Errorf("in the end %s says %q, want %q", name, got, want)
					}
				}
			})
		})
	}
}

// With the original's CRD, which drops the condition, a status is written once.
func TestStatusOfTheOriginalsCRD(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.original = true
		m.put("a", spec(role("A"), "a"))
		ours := serve(m)
		defer ours.stop()
		time.Sleep(day)
		for i := range 100 {
			m.touch("a", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"n": fmt.Sprint(i)}) })
			time.Sleep(time.Hour)
		}
		if asked, _ := m.counts(); asked != 1 {
			t.Errorf("%d writes", asked)
		}
	})
}

// Nothing gets lost when statuses cannot be written, and nothing is hammered at.
func TestStatusesArriveInTheEnd(t *testing.T) {
	t.Parallel()
	resource := identityMappings.GroupResource()
	for name, tc := range map[string]struct {
		refusal error
		warned  bool
	}{
		"forbidden":       {apierrors.NewForbidden(resource, "", errors.New("no such right")), true},
		"no subresource":  {apierrors.NewNotFound(resource, ""), true},
		"unavailable":     {apierrors.NewServiceUnavailable("try again"), false},
		"connection lost": {errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const objects = 500
				m := newMemory()
				m.refusal = func(string) error { return tc.refusal }
				for i := range objects {
					m.put(fmt.Sprint("o", i), spec(role(fmt.Sprint("R", i)), "u"))
				}
				ours := serve(m)
				defer func() { ours.stop() }()
				time.Sleep(day)
				if !ours.maps(t, role("R7")) {
					t.Error("R7 is not mapped")
				}
				asked, _ := m.counts()
				t.Logf("%d requests in a day", asked)
				if asked > 2*int(day/maxRetryPause)+50 {
					t.Errorf("%d requests", asked)
				}
				m.set(func() { m.refusal = nil })
				time.Sleep(2 * maxRetryPause)
				for i := range objects {
					name := fmt.Sprint("o", i)
					if got, want := statusOf(m, name), "Accepted "+canonicalARN(role(fmt.Sprint("R", i))); got != want {
						t.Fatalf("%s says %q, want %q", name, got, want)
					}
				}
				ours.stop()
				want := 0
				if tc.warned {
					want = 1
				}
				if got := strings.Count(ours.log.String(), "status not written"); got != want {
					t.Errorf("said %d times, want %d: %s", got, want, ours.log.String())
				}
			})
		})
	}
}

// One object whose status cannot be written does not keep the others from theirs.
func TestOneRefusedStatus(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"invalid":    apierrors.NewInvalid(identityMappings.GroupVersion().WithKind("IAMIdentityMapping").GroupKind(), "o0", nil),
		"by webhook": apierrors.NewForbidden(identityMappings.GroupResource(), "o0", errors.New("not by you")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.refusal = func(object string) error {
					if object == "o0" {
						return refusal
					}
					return nil
				}
				for i := range 100 {
					m.put(fmt.Sprint("o", i), spec(role(fmt.Sprint("R", i)), "u"))
				}
				ours := serve(m)
				defer ours.stop()
				time.Sleep(time.Minute)
				for i := range 100 {
					if got := statusOf(m, fmt.Sprint("o", i)); (got != "") != (i > 0) {
						t.Errorf("o%d says %q", i, got)
					}
				}
			})
		})
	}
}

// Of what becomes of an object while a write is under way, the newest is
// written, over whatever else was written meanwhile.
func TestNewestVerdictIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.hold = make(chan struct{})
		m.put("a", spec("hello", "a"))
		m.put("gone", spec("hello", "a"))
		ours := serve(m)
		defer ours.stop()
		synctest.Wait()
		m.put("a", spec("{{Nonsense}}", "a"))
		synctest.Wait()
		m.put("a", spec(role("A"), "a"))
		m.delete("gone")
		synctest.Wait()
		if !ours.maps(t, role("A")) {
			t.Error("A waits for a status to be written")
		}
		m.touch("a", func(o *unstructured.Unstructured) {
			o.Object["status"] = map[string]any{"userID": "AIDA", "conditions": []any{map[string]any{"type": "Audited", "status": "True"}}}
		})
		m.set(func() { close(m.hold); m.hold = nil })
		time.Sleep(time.Minute)
		if got, want := statusOf(m, "a"), "Accepted "+canonicalARN(role("A")); got != want {
			t.Errorf("a says %q, want %q", got, want)
		}
		o := m.get("a")
		if seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); seen != o.GetGeneration() {
			t.Errorf("observedGeneration is %d, want %d", seen, o.GetGeneration())
		}
		if id, _, _ := unstructured.NestedString(o.Object, "status", "userID"); id != "AIDA" || len(conditions(o)) != 2 {
			t.Errorf("what others wrote is lost: %v", o.Object["status"])
		}
		ours.stop()
		if n := len(ours.statuses.records); n != 1 {
			t.Errorf("%d objects are remembered", n)
		}
	})
}

// A write that meets a conflict reads again and is not lost, even if the watch
// shows nothing new.
func TestConflictIsReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put("a", spec(role("A"), "a"))
		stale := m.get("a")
		m.touch("a", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) })
		s := newStatuses(memoryClient{memory: m}, slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.run(ctx)
		s.put(verdict{object: stale, canonical: canonicalARN(role("A")), reason: reasonAccepted, message: "in force"})
		synctest.Wait()
		asked, reads := m.counts()
		if statusOf(m, "a") == "" || asked != 2 || reads != 1 {
			t.Errorf("the status is %q after %d writes and %d reads", statusOf(m, "a"), asked, reads)
		}
		// What was judged is no longer there: whoever judges anew writes.
		m.put("a", spec("hello", "a"))
		s.put(verdict{object: stale, reason: reasonInvalid, message: "of something older"})
		synctest.Wait()
		if got := statusOf(m, "a"); !strings.HasPrefix(got, "Accepted") {
			t.Errorf("a says %q", got)
		}
	})
}

// Changes of statuses are no changes of the mappings.
func TestStatusesAreNoReloads(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 20 {
		b.identityMapping(fmt.Sprint("o", i), "2026-01-01T00:00:00Z", spec(role(fmt.Sprint("R", i)), "u"))
	}
	b.start(mapping.BackendCRD)
	b.eventually("all statuses are there", func() bool {
		for _, o := range b.kube.Under(crdPath) {
			if o["status"] == nil {
				return false
			}
		}
		return true
	})
	b.identityMapping("last", "2026-01-01T00:00:00Z", spec(role("Last"), "last"))
	b.becomes(role("Last"), "last")
	if got := b.metric("mapping_reloads_total", mapping.BackendCRD); got != 2 {
		t.Errorf("%v reloads", got)
	}
}

// Who is removed is out, and the server stops, however long statuses take.
func TestMappingsDoNotWaitForStatuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := b.kube.HoldWrites()
	defer release()
	for i := range 400 {
		b.identityMapping(fmt.Sprint("o", i), "2026-01-01T00:00:00Z", spec(role(fmt.Sprint("R", i)), "u"))
	}
	b.start(mapping.BackendCRD)
	b.becomes(role("R399"), "u")
	b.kube.Delete(crdPath + "/o399")
	b.becomes(role("R399"), "nobody")
	b.eventually("a status is being written", func() bool { return b.kube.Held() > 0 })
	b.stop()
}
