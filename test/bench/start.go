package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// starts measures how long a server takes from the start of its process to the
// first login, and its memory then and under load.
func (b *bench) starts(ctx context.Context) (rows []row, err error) {
	w, err := newWorld(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, n := range sizes {
		configFile, err := w.configFile(n, nil)
		if err != nil {
			return nil, err
		}
		bodies, err := w.presigned(ctx, n)
		if err != nil {
			return nil, err
		}
		l := newLoad(w, bodies)
		ready, idle, loaded := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
		for run := range b.runs + 1 {
			order := []string{ours, peer}
			if run%2 == 1 {
				slices.Reverse(order)
			}
			for _, kind := range order {
				took, before, after, err := b.oneStart(ctx, w, kind, configFile, l)
				if err != nil {
					return nil, err
				}
				if run == 0 {
					continue // reads the program from disk
				}
				ready[kind] = append(ready[kind], milliseconds(took))
				idle[kind], loaded[kind] = append(idle[kind], before), append(loaded[kind], after)
			}
		}
		of := fmt.Sprintf(", %d mappings", n)
		rows = append(rows,
			compare("start of the process to the first login"+of, "ms", peer, "", ready[ours], ready[peer]),
			compare("resident memory, idle"+of, "MiB", peer, "at most 1", idle[ours], idle[peer]),
			compare("resident memory, 64 logins at once"+of, "MiB", peer, "at most 1", loaded[ours], loaded[peer]))
	}
	return rows, nil
}

func (b *bench) oneStart(ctx context.Context, w *world, kind, configFile string, l *load) (ready time.Duration, idle, loaded float64, err error) {
	a, err := b.start(ctx, w, kind, w.sts.addrs[0], configFile)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	if ready, err = a.waitReady(ctx, l); err != nil {
		return 0, 0, 0, err
	}
	if idle, err = a.memory(); err != nil {
		return 0, 0, 0, err
	}
	if err := w.sts.setLatency(latency{Answer: stsDelay}); err != nil {
		return 0, 0, 0, err
	}
	if _, err = l.run(ctx, w, a.addr, a.cmd.Process.Pid, 64, b.window); err != nil {
		return 0, 0, 0, err
	}
	loaded, err = a.memory()
	return ready, idle, loaded, errors.Join(err, w.sts.setLatency(latency{}))
}
