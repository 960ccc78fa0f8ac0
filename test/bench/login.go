package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// cell is one combination that logins are measured with, and what was measured.
type cell struct {
	atOnce   int
	latency  latency
	mappings int
	http2    bool
	samples  map[string][]sample
}

// String names the cell in the tables.
func (c *cell) String() string {
	sts := fmt.Sprintf("STS %d ms", c.latency.Answer.Milliseconds())
	if c.latency.Network {
		sts = fmt.Sprintf("STS %d ms away", c.latency.Answer.Milliseconds())
	}
	if c.http2 {
		sts += " by HTTP/2"
	}
	return fmt.Sprintf("%d at once, %s, %d mappings", c.atOnce, sts, c.mappings)
}

// of returns the median of one figure.
func (c *cell) of(kind string, figure func(sample) float64) float64 {
	return median(c.series(kind, figure))
}

func (c *cell) series(kind string, figure func(sample) float64) []float64 {
	var all []float64
	for _, s := range c.samples[kind] {
		all = append(all, figure(s))
	}
	return all
}

func rate(s sample) float64  { return s.rate }
func cpu(s sample) float64   { return s.cpu }
func p99(s sample) float64   { return s.p99 }
func fresh(s sample) float64 { return s.fresh }

var allKinds = []string{ours, peer, cached}

const stsDelay = 20 * time.Millisecond

// loginCells are what is measured, in the order of the tables. The last two are
// beside the design's: they show how much of the difference is connections.
func loginCells() []*cell {
	var cells []*cell
	add := func(atOnce int, l latency, mappings int, http2 bool) {
		cells = append(cells, &cell{atOnce: atOnce, latency: l, mappings: mappings, http2: http2, samples: map[string][]sample{}})
	}
	for _, n := range sizes {
		for _, l := range []latency{{}, {Answer: stsDelay}} {
			for _, atOnce := range []int{1, 8, 64} {
				add(atOnce, l, n, false)
			}
		}
	}
	add(64, latency{Answer: stsDelay, Network: true}, sizes[0], false)
	add(64, latency{Answer: stsDelay}, sizes[0], true)
	return cells
}

// logins measures presigned logins beside the original's. Servers with the same
// table run side by side, and take turns.
func (b *bench) logins(ctx context.Context) (rows []row, err error) {
	w, err := newWorld(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	b.cells = loginCells()
	for _, http2 := range []bool{false, true} {
		for _, n := range sizes {
			group := slices.DeleteFunc(slices.Clone(b.cells), func(c *cell) bool { return c.mappings != n || c.http2 != http2 })
			if len(group) == 0 {
				continue
			}
			if err := b.loginGroup(ctx, w, n, http2, group); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range b.cells {
		rows = append(rows, c.rows()...)
	}
	return rows, nil
}

// loginGroup measures the cells that the same three servers serve.
func (b *bench) loginGroup(ctx context.Context, w *world, n int, http2 bool, cells []*cell) (err error) {
	configFile, err := w.configFile(n, nil)
	if err != nil {
		return err
	}
	bodies, err := w.presigned(ctx, n)
	if err != nil {
		return err
	}
	l := newLoad(w, bodies)
	if err := w.sts.setLatency(latency{}); err != nil {
		return err
	}
	proxy := w.sts.addrs[0]
	if http2 {
		proxy = w.sts.addrs[1]
	}
	servers := map[string]*server{}
	for _, kind := range allKinds {
		a, err := b.start(ctx, w, kind, proxy, configFile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.stop()) }()
		if _, err := a.waitReady(ctx, l); err != nil {
			return err
		}
		// Each token once, so that the simulated STS knows them all.
		if _, err := l.run(ctx, w, a.addr, a.cmd.Process.Pid, 8, b.window); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		servers[kind] = a
	}
	for run := range b.runs {
		for _, c := range cells {
			if err := w.sts.setLatency(c.latency); err != nil {
				return err
			}
			// Who goes first changes: A B, B A.
			order := slices.Clone(allKinds)
			if run%2 == 1 {
				slices.Reverse(order)
			}
			for _, kind := range order {
				a := servers[kind]
				s, err := l.run(ctx, w, a.addr, a.cmd.Process.Pid, c.atOnce, b.window)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", kind, c, err)
				}
				c.samples[kind] = append(c.samples[kind], s)
			}
		}
	}
	return nil
}

// rows are the cell's comparisons.
func (c *cell) rows() []row {
	var rows []row
	aims := [3]string{}
	if c.atOnce == 64 && c.latency.Answer > 0 && !c.latency.Network && !c.http2 {
		aims = [3]string{"at least 5", "at most 0.2", "ours under 1 %"}
	}
	for _, kind := range []string{ours, cached} {
		suffix := ""
		if kind == cached {
			suffix, aims = ", cached", [3]string{}
		}
		add := func(what, unit, aim string, figure func(sample) float64) {
			rows = append(rows, compare("login"+suffix+", "+c.String()+": "+what, unit, peer, aim, c.series(kind, figure), c.series(peer, figure)))
		}
		add("logins a second", "1/s", aims[0], rate)
		add("CPU a login", "us", aims[1], cpu)
		add("99th percentile", "ms", "", p99)
		if kind == ours {
			add("new TLS connections to STS a login", "%", aims[2], fresh)
		}
	}
	return rows
}
