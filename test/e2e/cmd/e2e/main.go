// Command e2e makes and removes labs by hand; the tests do it by themselves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/capiam/capiam/test/e2e/images"
	"github.com/capiam/capiam/test/e2e/machines"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want a verb")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	dir := flags.String("dir", machines.DefaultDir, "the lab's directory")
	bin := flags.String("bin", "bin/e2e", "programs")
	version := flags.String("kubernetes", "v1.36.3", "version")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "lab-up":
		archive, pause, err := images.Kubernetes(ctx, *bin, *version)
		if err != nil {
			return err
		}
		lab, err := machines.Up(ctx, *dir, machines.Options{Programs: *bin, PauseImage: pause})
		if err != nil {
			return err
		}
		return lab.Import(ctx, archive)
	case "lab-down":
		lab, err := machines.Open(*dir)
		if errors.Is(err, machines.ErrNoLab) {
			return nil
		}
		if err != nil {
			return err
		}
		return lab.Down(ctx)
	case "machine-run":
		lab, err := machines.Open(*dir)
		if err != nil {
			return err
		}
		m, err := lab.Run(ctx, machines.Spec{Name: flags.Arg(0)})
		if err != nil {
			return err
		}
		fmt.Println(m.Address)
		return nil
	case "exec":
		lab, err := machines.Open(*dir)
		if err != nil {
			return err
		}
		m, err := lab.Get(flags.Arg(0))
		if err != nil {
			return err
		}
		return m.Exec(ctx, machines.Exec{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, flags.Arg(1), flags.Args()[2:]...)
	case "rm":
		lab, err := machines.Open(*dir)
		if err != nil {
			return err
		}
		return lab.Remove(ctx, flags.Arg(0))
	}
	return errors.New("unknown verb " + strings.Join(args, " "))
}
