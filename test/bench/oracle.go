package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// series is what the program with the original's library prints: test/oracle/bench.
type series struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Aim    string    `json:"aim"`
	Ours   []float64 `json:"ours"`
	Theirs []float64 `json:"theirs"`
}

// lookups runs the comparisons with the original's library: lookups and reloads
// in one process.
func (b *bench) lookups(ctx context.Context) ([]row, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "oracle-bench"), "-runs", strconv.Itoa(b.runs))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w (`make bench` builds it)", err)
	}
	var all []series
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return nil, err
	}
	var rows []row
	var lookups []series
	for _, s := range all {
		rows = append(rows, compare(s.Name, s.Unit, peer, s.Aim, s.Ours, s.Theirs))
		if s.Unit == "us" {
			lookups = append(lookups, s)
		}
	}
	b.lookup = lookups
	if n := len(lookups); n > 0 {
		// Flat means that the largest table costs about what the smallest does.
		for _, i := range []int{n/2 - 1, n - 1} {
			first := lookups[i/(n/2)*(n/2)]
			rows = append(rows, compare("growth: "+lookups[i].Name, "us", "capiam: "+first.Name, "at most 2", lookups[i].Ours, first.Ours))
		}
	}
	return rows, nil
}
