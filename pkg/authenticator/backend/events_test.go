package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/mapping"
)

// runEvents starts a writer of events. It is to be stopped before its bubble
// ends.
func runEvents(m *memory) (e *Events, stop func()) {
	e = NewEvents(m, "test", slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	return e, func() { cancel(); wg.Wait() }
}

func namedObject(name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"kind": "IAMIdentityMapping"}}
	o.SetName(name)
	return o
}

func wrong(message string) []mapping.Finding {
	return []mapping.Finding{{Severity: mapping.Error, Key: "k", Index: -1, Message: message}}
}

func TestEventsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"forbidden":       apierrors.NewForbidden(events.GroupResource(), "", errors.New("no such right")),
		"connection lost": errors.New("connection refused"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.refusal = func(string) error { return refusal }
				e, stop := runEvents(m)
				defer stop()
				e.Report(namedObject("a"), wrong("old"))
				e.Report(namedObject("mended"), wrong("old"))
				e.Report(namedObject("deleted"), wrong("old"))
				time.Sleep(time.Hour)
				e.Report(namedObject("a"), wrong("new"))
				e.Report(namedObject("mended"), nil)
				e.Forget(namedObject("deleted"))
				time.Sleep(time.Hour)
				if asked, _ := m.counts(); asked > 2*int(time.Hour/maxRetryPause)+10 {
					t.Errorf("%d requests in two hours", asked)
				}
				m.set(func() { m.refusal = nil })
				time.Sleep(time.Hour)
				e.Report(namedObject("a"), wrong("new"))
				time.Sleep(time.Hour)
				if got := m.told(); !slices.Equal(got, []string{"k: new"}) {
					t.Errorf("told %q", got)
				}
				e.Report(namedObject("a"), nil)
				time.Sleep(time.Hour)
				if got := m.told(); len(got) != 2 || !strings.Contains(got[1], "again") {
					t.Errorf("told %q", got)
				}
				stop()
				if len(e.topics) != 0 || len(e.queue) != 0 {
					t.Errorf("still remembered: %v", e.topics)
				}
			})
		})
	}
}

func TestEventWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		e, stop := runEvents(m)
		defer stop()
		m.hold = make(chan struct{})
		e.Report(namedObject("a"), wrong("x"))
		synctest.Wait()
		written := e.topics[topicID(namedObject("a"))].event
		m.set(func() { m.events = append(m.events, written); close(m.hold) })
		time.Sleep(time.Hour)
		if asked, _ := m.counts(); asked != 1 || len(m.told()) != 1 {
			t.Errorf("%d requests, told %q", asked, m.told())
		}
	})
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		e, stop := runEvents(m)
		defer stop()
		for i := range 10 * maxEvents {
			e.Report(namedObject(fmt.Sprint(i)), wrong("x"))
		}
		synctest.Wait()
		began := time.Now()
		e.mu.Lock()
		kept := len(e.topics)
		e.mu.Unlock()
		if kept > maxEvents+1 {
			t.Errorf("%d are kept", kept)
		}
		time.Sleep(time.Hour)
		if got := len(m.told()); got < maxEvents || got > maxEvents+1 {
			t.Errorf("%d events after %s", got, time.Since(began))
		}
	})
}
