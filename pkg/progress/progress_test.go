package progress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// steady is a clock that moves by a step each time it is read.
func steady(step time.Duration) func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(step)
		return now
	}
}

func TestPlainLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := New(&out)
	r.now = steady(1500 * time.Millisecond)
	if err := r.Step(t.Context(), "Make keys", func(context.Context) (string, error) { return "", nil }); err != nil {
		t.Error(err)
	}
	r.Note("%d of them", 3)
	if err := r.Step(t.Context(), "Start", func(context.Context) (string, error) { return "https://127.0.0.1:1", nil }); err != nil {
		t.Error(err)
	}
	r.Warn("look at %s", "this")
	failure := errors.New("no room")
	err := r.Step(t.Context(), "Write", func(context.Context) (string, error) { return "not shown", failure })
	if !errors.Is(err, failure) || err.Error() != "Write: no room" {
		t.Errorf("error %v", err)
	}
	want := `► Make keys
✔ Make keys (1.5s)
  3 of them
► Start
✔ Start: https://127.0.0.1:1 (1.5s)
! look at this
► Write
✗ Write (1.5s)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestEndOfContext(t *testing.T) {
	t.Parallel()
	cancelled := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}
	tooLate := errors.New("not done within 5s (--timeout)")
	late := func() context.Context {
		ctx, cancel := context.WithDeadlineCause(context.Background(), time.Unix(0, 0), tooLate)
		cancel()
		return ctx
	}
	other := errors.New("disk full")
	for _, test := range []struct {
		name string
		ctx  context.Context
		run  func(context.Context) (string, error)
		want error
		text string
	}{
		{"interrupted before", cancelled(), nil, ErrInterrupted, "Wait: interrupted"},
		{"late before", late(), nil, tooLate, "Wait: not done within 5s (--timeout)"},
		{"another error", context.Background(), func(context.Context) (string, error) { return "", other }, other, "Wait: disk full"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			run := test.run
			if run == nil {
				run = func(context.Context) (string, error) { t.Error("a step of an ended context was run"); return "", nil }
			}
			err := (&Reporter{}).Step(test.ctx, "Wait", run)
			if !errors.Is(err, test.want) || err.Error() != test.text {
				t.Errorf("error %v, want %s", err, test.text)
			}
		})
	}
}

func TestInterruptedStep(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := (&Reporter{}).Step(ctx, "Wait", func(ctx context.Context) (string, error) {
		cancel()
		return "", fmt.Errorf("get https://127.0.0.1: %w", ctx.Err())
	})
	if !errors.Is(err, ErrInterrupted) || err.Error() != "Wait: interrupted" {
		t.Errorf("error %v", err)
	}
	// What fails for another reason says so, interrupted or not.
	failure := errors.New("disk full")
	ctx, cancel = context.WithCancel(t.Context())
	err = (&Reporter{}).Step(ctx, "Write", func(context.Context) (string, error) {
		cancel()
		return "", failure
	})
	if !errors.Is(err, failure) || errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v", err)
	}
}

func TestZeroReporterIsSilent(t *testing.T) {
	t.Parallel()
	r := &Reporter{}
	r.Note("nothing")
	r.Warn("nothing")
	ran := false
	if err := r.Step(t.Context(), "x", func(context.Context) (string, error) { ran = true; return "", nil }); err != nil || !ran {
		t.Errorf("ran %t, error %v", ran, err)
	}
}

// lockedBuffer is a terminal's place: the spinner writes beside the step.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	out := &lockedBuffer{}
	r := &Reporter{w: out, tty: true, color: true, now: steady(time.Millisecond)}
	for range 3 {
		err := r.Step(t.Context(), "Start", func(context.Context) (string, error) {
			// The spinner has drawn itself before the step is over.
			deadline := time.Now().Add(time.Minute)
			for !strings.Contains(out.String(), "⠋ Start (") {
				if time.Now().After(deadline) {
					return "", errors.New("no spinner")
				}
				time.Sleep(time.Millisecond)
			}
			r.Note("half way")
			return "", nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text := out.String()
	if !strings.Contains(text, "\r\x1b[K  half way\n") || !strings.Contains(text, "\r\x1b[K\x1b[32m✔\x1b[0m Start \x1b[2m(") {
		t.Errorf("got %q", text)
	}
	if strings.Contains(text, "►") {
		t.Errorf("plain lines on a terminal: %q", text)
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                                   "0s",
		12345 * time.Microsecond:            "12ms",
		3456 * time.Millisecond:             "3.5s",
		time.Minute + 1234*time.Millisecond: "1m1s",
	} {
		if got := round(d); got != want {
			t.Errorf("%d ns: %s, want %s", d, got, want)
		}
	}
}
