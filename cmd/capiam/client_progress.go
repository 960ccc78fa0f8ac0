package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// downloadProgress shows how far a download is: a line that changes on a
// terminal, and nothing elsewhere, where it would only fill a log.
type downloadProgress struct {
	to       io.Writer
	terminal bool
	// shown is the last step drawn; a step is a hundredth of the file, or a
	// mebibyte if its size is not known.
	shown int64
	drawn bool
}

func newProgress(to io.Writer) *downloadProgress {
	f, ok := to.(*os.File)
	return &downloadProgress{to: to, terminal: ok && term.IsTerminal(int(f.Fd())), shown: -1}
}

func (p *downloadProgress) bytes(done, total int64) {
	if !p.terminal {
		return
	}
	step := done >> 20
	if total > 0 {
		step = done * 100 / total
	}
	if step == p.shown {
		return
	}
	p.shown, p.drawn = step, true
	if total > 0 {
		fmt.Fprintf(p.to, "\r► %.1f of %.1f MiB (%d %%)", mebibytes(done), mebibytes(total), step)
	} else {
		fmt.Fprintf(p.to, "\r► %.1f MiB", mebibytes(done))
	}
}

func (p *downloadProgress) retrying(attempt int, err error) {
	p.end()
	fmt.Fprintf(p.to, "► attempt %d failed, trying again: %v\n", attempt, err)
}

// end leaves the line that changes.
func (p *downloadProgress) end() {
	if p.drawn {
		fmt.Fprintln(p.to)
		p.drawn = false
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
