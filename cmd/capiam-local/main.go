// Command capiam-local supervises one local cluster: etcd and kube-apiserver in
// this process, kube-controller-manager and the authenticator as children, and
// a simulated STS beside them.
//
// People do not call it; capiam does. It is a Go module of its own because
// Kubernetes can only be embedded with a replace for each of its staging
// modules.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/component-base/cli"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/provider/local/supervisor"
)

const usage = `capiam-local supervises one local cluster; capiam starts it.

usage:
  capiam-local run --dir DIR --authenticator FILE
  capiam-local bare --dir DIR                      etcd and kube-apiserver alone
  capiam-local kube-controller-manager [flags]
`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 1
	}
	switch args[0] {
	case "kube-controller-manager":
		command := kcm.NewControllerManagerCommand()
		command.SetArgs(args[1:])
		return cli.Run(command)
	case "run", "bare":
		if err := supervise(args[0], args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "capiam-local:", err)
			return 1
		}
		return 0
	default:
		fmt.Fprint(os.Stderr, usage)
		return 1
	}
}

func supervise(verb string, args []string) error {
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	dir := flags.String("dir", "", "the cluster's directory")
	authenticator := flags.String("authenticator", "", "the authenticator's program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return errors.New("want --dir DIR and nothing else")
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	layout := local.Layout{Dir: path}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if verb == "bare" {
		record, err := local.ReadRecord(layout)
		if err != nil {
			return err
		}
		if err := layout.PrepareSockets(); err != nil {
			return err
		}
		return runControlPlane(ctx, layout, record)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return supervisor.Run(ctx, supervisor.Options{
		Layout:            layout,
		ControlPlane:      runControlPlane,
		ControllerManager: []string{self, "kube-controller-manager"},
		Authenticator:     []string{*authenticator},
		Log:               slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}
