//go:build e2e

package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

var docs = flag.String("docs", "", "write what was measured into this file, between its markers")

// The table stands between these lines of docs/e2e.md.
const (
	tableBegin = "<!-- measured: written by make e2e-docs -->\n"
	tableEnd   = "<!-- end of what was measured -->\n"
)

// measured collects figures in the order they come.
var measured figures

type figures struct {
	mu   sync.Mutex
	rows [][2]string
}

func (f *figures) add(what string, value any) {
	if d, ok := value.(time.Duration); ok {
		value = fmt.Sprintf("%.1f s", d.Seconds())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, [2]string{what, fmt.Sprint(value)})
}

// write puts the table into the page, if one was asked for.
func (f *figures) write() error {
	if *docs == "" {
		return nil
	}
	page, err := os.ReadFile(*docs)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(page, []byte(tableBegin))
	_, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !found || !ended {
		return fmt.Errorf("%s has not the lines between which the table stands", *docs)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s%s\n| what | measured |\n|---|---|\n", before, tableBegin)
	for _, row := range f.rows {
		fmt.Fprintf(&out, "| %s | %s |\n", row[0], row[1])
	}
	fmt.Fprintf(&out, "\n%s%s", tableEnd, after)
	return os.WriteFile(*docs, out.Bytes(), 0o644)
}
