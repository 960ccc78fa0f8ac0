package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
)

//go:embed benchmarks.md.tmpl
var pageTemplate string

// page is what docs/benchmarks.md is made of.
type page struct {
	Date, Machine, Go, Capiam, Peer string
	Runs                            int
	Window                          time.Duration
	Cells                           []*cell
	Aims, Rest                      []row
	Plot                            bool
}

// writeDocs writes benchmarks.md and its plot.
func (b *bench) writeDocs(dir string, rows []row) error {
	p := page{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: b.machine, Go: runtime.Version(),
		Capiam: b.capiamVersion, Peer: b.peerVersion, Runs: b.runs, Window: b.window, Cells: b.cells,
	}
	for _, r := range rows {
		switch {
		case r.aim != "":
			p.Aims = append(p.Aims, r)
		case !strings.HasPrefix(r.Name, "login"):
			p.Rest = append(p.Rest, r)
		}
	}
	var c chart
	if len(b.cells) > 0 {
		main := b.cells[:12]
		c.bars("Logins a second (more is better)", "logins a second", main, rate)
		c.bars("CPU time of the server for a login (less is better)", "microseconds", main, cpu)
	}
	if n := len(b.lookup); n > 0 {
		c.lines("Finding a principal's mapping (less is better)", "microseconds", b.lookupLines())
	}
	p.Plot = c.y > 0
	t, err := template.New("benchmarks.md").Funcs(template.FuncMap{
		"number": number, "met": row.met, "ours": func() string { return ours }, "peer": func() string { return peer }, "cached": func() string { return cached },
		"rate":  func(c *cell, kind string) float64 { return c.of(kind, rate) },
		"cpu":   func(c *cell, kind string) float64 { return c.of(kind, cpu) },
		"p99":   func(c *cell, kind string) float64 { return c.of(kind, p99) },
		"fresh": func(c *cell, kind string) string { return fmt.Sprintf("%.1f", c.of(kind, fresh)) },
		"unit":  func(u string) string { return strings.NewReplacer("us", "µs", "1/s", "a second").Replace(u) },
		"ratio": func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) },
	}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := t.Execute(&text, p); err != nil {
		return err
	}
	_, err = atomicfile.Write(filepath.Join(dir, "benchmarks.md"), []byte(text.String()), 0o644)
	if p.Plot {
		_, plotErr := atomicfile.Write(filepath.Join(dir, "benchmarks.svg"), c.svg(), 0o644)
		err = errors.Join(err, plotErr)
	}
	return err
}

// lookupLines are the lookups as curves.
func (b *bench) lookupLines() []line {
	half := len(b.lookup) / 2
	var lines []line
	for i, of := range []string{"", ", SSO among them"} {
		dash := ""
		if i == 1 {
			dash = ` stroke-dasharray="6 4"`
		}
		mine := line{name: ours + of, colour: [2]string{"#1b6ca8", "#8cc0e6"}[i], dash: dash}
		theirs := line{name: peer + of, colour: [2]string{"#d9822b", "#efc18f"}[i], dash: dash}
		for _, s := range b.lookup[i*half : (i+1)*half] {
			var n float64
			if _, err := fmt.Sscanf(s.Name, "lookup, %g mappings", &n); err != nil {
				continue
			}
			mine.x, mine.y = append(mine.x, n), append(mine.y, median(s.Ours))
			theirs.x, theirs.y = append(theirs.x, n), append(theirs.y, median(s.Theirs))
		}
		lines = append(lines, mine, theirs)
	}
	return lines
}

// met tells whether a row reaches its aim: "at most 0.2" and "at least 5" are of
// the ratio, "ours under 1 us" is of our own figure.
func (r row) met() string {
	var limit float64
	var ok bool
	switch {
	case strings.HasPrefix(r.aim, "at most"):
		_, _ = fmt.Sscanf(r.aim, "at most %g", &limit)
		ok = r.Ratio <= limit
	case strings.HasPrefix(r.aim, "at least"):
		_, _ = fmt.Sscanf(r.aim, "at least %g", &limit)
		ok = r.Ratio >= limit
	default:
		_, _ = fmt.Sscanf(r.aim, "ours under %g", &limit)
		ok = r.Ours < limit
	}
	if ok {
		return "yes"
	}
	return "**no**"
}

// Aim is the row's aim, for the page.
func (r row) Aim() string { return r.aim }

// Against is what the row compares with.
func (r row) Against() string { return r.peer }

// machine says what was measured on, without naming it.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	load := ""
	if l, err := os.ReadFile("/proc/loadavg"); err == nil && len(strings.Fields(string(l))) > 0 {
		load = ", load average before the start " + strings.Fields(string(l))[0]
	}
	return fmt.Sprintf("%d cores (%s) of a shared virtual machine, %s%s", runtime.NumCPU(), model, runtime.GOOS, load)
}
