// Package progress tells a person what a command is doing: one line a step,
// with how long it took. On a terminal the running step has a spinner and a
// clock; elsewhere there are plain lines.
//
// Progress goes to standard error; what a command answers goes to standard
// output and is none of this package's business.
package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Reporter shows steps. Its zero value shows nothing; it is safe for use by
// several goroutines, one step at a time.
type Reporter struct {
	w     io.Writer
	tty   bool
	color bool
	now   func() time.Time

	mu      sync.Mutex
	step    string
	started time.Time
	stop    func()
}

// New returns a Reporter on w. It animates if w is a terminal, and uses colour
// unless the environment asks for none (https://no-color.org).
func New(w io.Writer) *Reporter {
	r := &Reporter{w: w, now: time.Now}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		r.tty = true
		r.color = os.Getenv("NO_COLOR") == ""
	}
	return r
}

// Step runs one step under a name. The step's own detail, if any, stands behind
// the name once it is done. Its error is returned with the name before it.
func (r *Reporter) Step(ctx context.Context, name string, run func(context.Context) (detail string, err error)) error {
	r.start(name)
	detail, err := "", context.Cause(ctx)
	if err == nil {
		detail, err = run(ctx)
	}
	r.end(detail, err)
	if err != nil {
		return fmt.Errorf("%s: %w", name, reason(ctx, err))
	}
	return nil
}

// reason says in plain words why a step of a context that has ended failed:
// what was cut short has its own names for it.
func reason(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil || !errors.Is(err, ctx.Err()) && !errors.Is(err, cause):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ErrInterrupted
	default:
		return cause
	}
}

// ErrInterrupted is what a step ends with when the user stopped it.
var ErrInterrupted = errors.New("interrupted")

// Note prints a line between steps.
func (r *Reporter) Note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return
	}
	r.clear()
	fmt.Fprintf(r.w, "  "+format+"\n", args...)
}

// Warn prints a line that should be read.
func (r *Reporter) Warn(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return
	}
	r.clear()
	fmt.Fprintf(r.w, r.paint(yellow, "!")+" "+format+"\n", args...)
}

func (r *Reporter) start(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return
	}
	r.step, r.started = name, r.now()
	if !r.tty {
		fmt.Fprintf(r.w, "► %s\n", name)
		return
	}
	done := make(chan struct{})
	var spinning sync.WaitGroup
	spinning.Go(func() { r.spin(name, r.started, done) })
	r.stop = func() {
		close(done)
		spinning.Wait()
	}
}

func (r *Reporter) end(detail string, err error) {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return
	}
	r.clear()
	mark := r.paint(green, "✔")
	if err != nil {
		mark, detail = r.paint(red, "✗"), ""
	}
	if detail != "" {
		detail = ": " + detail
	}
	took := r.now().Sub(r.started)
	fmt.Fprintf(r.w, "%s %s%s %s\n", mark, r.step, detail, r.paint(dim, "("+round(took)+")"))
	r.step = ""
}

func (r *Reporter) spin(name string, started time.Time, done <-chan struct{}) {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		r.mu.Lock()
		fmt.Fprintf(r.w, "\r\x1b[K%c %s (%s)", frames[i%len(frames)], name, round(r.now().Sub(started)))
		r.mu.Unlock()
		select {
		case <-done:
			return
		case <-ticker.C:
		}
	}
}

// clear removes the spinner's line, on a terminal.
func (r *Reporter) clear() {
	if r.tty {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

func (r *Reporter) paint(colour, text string) string {
	if !r.color {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// round gives a duration the precision a person wants to read.
func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
