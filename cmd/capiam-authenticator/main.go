// Command capiam-authenticator is the token webhook of a cluster, with the
// flags, configuration file, port and paths of aws-iam-authenticator, so that
// either image runs under the same DaemonSet.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	go func() {
		<-ctx.Done()
		stop()
	}()
	return Run(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:])
}
