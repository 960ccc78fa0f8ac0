// Command bench measures capiam beside its peers, in one run on one machine, and
// prints the ratios. `make bench` runs it.
//
// Nothing here passes or fails: figures from a busy machine mean little alone,
// and a ratio of two that were measured in turn means something.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// row is one comparison. Ours and Peer are medians in Unit.
type row struct {
	Name  string  `json:"name"`
	Ours  float64 `json:"ours"`
	Peer  float64 `json:"peer"`
	Unit  string  `json:"unit"`
	Ratio float64 `json:"ratio"`
	// aim says what the design wants, for the table.
	aim  string
	peer string
}

// bench is one run of this program.
type bench struct {
	bin  string
	dir  string
	runs int
	log  io.Writer
	// window is how long logins are measured for at a time.
	window time.Duration
	// cells are what logins has measured, for the tables and the plot.
	cells []*cell
	// lookup is what was measured of lookups, for the plot.
	lookup []series
	// What is measured and on what, for the page.
	capiamVersion, peerVersion, machine string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	bin := flag.String("bin", "bin", "directory with the programs to measure")
	runs := flag.Int("runs", 3, "how often each is measured; the median counts")
	only := flag.String("only", "", "measure only the groups whose names contain one of these, with commas between")
	window := flag.Duration("window", 400*time.Millisecond, "how long logins are measured for, each time")
	docs := flag.String("docs", "", "write benchmarks.md and its plot into this directory")
	capiamVersion := flag.String("version", "of this tree", "version of capiam, for the page")
	peerVersion := flag.String("peer-version", "v0.7.18", "version of aws-iam-authenticator, for the page")
	part := flag.String("part", "", "be one of this program's other processes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch *part {
	case "sts":
		return stsMain(ctx, flag.Arg(0), os.Stdin, os.Stdout)
	case "jwt":
		return jwtMain(ctx, flag.Arg(0), os.Stdin, os.Stdout)
	}
	b := &bench{runs: *runs, window: *window, log: os.Stderr, capiamVersion: *capiamVersion, peerVersion: *peerVersion, machine: machine()}
	if b.bin, err = filepath.Abs(*bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "capiam-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	var rows []row
	var failed []error
	for _, group := range []struct {
		name string
		run  func(context.Context) ([]row, error)
	}{
		{"create", b.create},
		{"mapping", b.mapping},
		{"login", b.logins},
		{"jwt", b.jwt},
		{"start", b.starts},
		{"lookup", b.lookups},
	} {
		if !slices.ContainsFunc(strings.Split(*only, ","), func(part string) bool { return strings.Contains(group.name, part) }) {
			continue
		}
		fmt.Fprintf(b.log, "measuring %s\n", group.name)
		more, err := group.run(ctx)
		if err != nil {
			// What the others measure is not lost.
			failed = append(failed, fmt.Errorf("%s: %w", group.name, err))
		}
		rows = append(rows, more...)
	}
	defer func() { err = errors.Join(append(failed, err)...) }()
	if err := printRows(os.Stdout, rows); err != nil {
		return err
	}
	if *docs != "" {
		if err := b.writeDocs(*docs, rows); err != nil {
			return err
		}
	}
	if path := os.Getenv("BENCH_JSON"); path != "" {
		data, err := json.MarshalIndent(rows, "", "  ")
		if err != nil {
			return err
		}
		_, err = atomicfile.Write(path, append(data, '\n'), 0o644)
		return err
	}
	return nil
}

func printRows(w io.Writer, rows []row) error {
	tab := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tab, "WHAT\tOURS\tPEER\tUNIT\tRATIO\tAIM\tPEER IS")
	for _, r := range rows {
		fmt.Fprintf(tab, "%s\t%.4g\t%.4g\t%s\t%.3g\t%s\t%s\n", r.Name, r.Ours, r.Peer, r.Unit, r.Ratio, r.aim, r.peer)
	}
	return tab.Flush()
}

// compare makes a row of two series that were measured in turn.
func compare(name, unit, peer, aim string, ours, theirs []float64) row {
	r := row{Name: name, Unit: unit, peer: peer, aim: aim, Ours: median(ours), Peer: median(theirs)}
	if r.Peer != 0 {
		r.Ratio = r.Ours / r.Peer
	}
	return r
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
