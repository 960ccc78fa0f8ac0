// Command capiam gives a Kubernetes cluster AWS IAM logins, from one spec.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run())
}

// run is main with its deferred calls: os.Exit would skip them.
func run() int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	return Run(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:])
}

// interruptible returns a context that ends with the first signal that asks the
// program to stop, so that it can take back what it has half done. The second
// one ends the program at once.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	// Whoever reads our progress may go away (capiam ... 2>&1 | head). That
	// must not kill a change half way.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(parent, signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
