// Command e2e-node is the first process of a machine made of namespaces, its
// supervisor, and under the name systemctl what asks that for something. Package
// machines starts it; people do not.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/capiam/capiam/test/e2e/machines/inside"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if filepath.Base(args[0]) == "systemctl" {
		return inside.Systemctl(args[1:])
	}
	if len(args) < 2 {
		return errors.New("want a verb")
	}
	switch args[1] {
	case inside.VerbInit:
		return inside.Init()
	case inside.VerbBoot:
		return inside.Boot()
	case inside.VerbSupervise:
		return inside.Supervise()
	case inside.VerbImport:
		return inside.Import(context.Background(), args[2:])
	case inside.VerbCertificate:
		return inside.Certificate(os.Stdout, args[2:])
	default:
		return fmt.Errorf("unknown verb %q", args[1])
	}
}
