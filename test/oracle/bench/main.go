// Command bench measures capiam beside the library of aws-iam-authenticator in
// one process: lookups, and taking over a changed aws-auth. It prints what
// test/bench makes rows of.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"
)

// series is one comparison: what was measured in turn.
type series struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Aim    string    `json:"aim"`
	Ours   []float64 `json:"ours"`
	Theirs []float64 `json:"theirs"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	runs := flag.Int("runs", 5, "how often each is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	logrus.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	all, err := lookups(ctx, *runs)
	if err != nil {
		return err
	}
	more, err := reloads(ctx, *runs)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(append(all, more...))
}
