// Package local_test drives the built programs as a user would: it creates
// clusters on this machine, logs in to them with every client there is, changes
// who may, breaks what can break, and deletes them again.
//
// The programs are taken from the directory in CAPIAM_BIN, which `make test`
// sets. Nothing here reaches beyond the machine; where the kernel allows it, the
// tests prove that by running in a network namespace that has only loopback.
package local_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/capiam/capiam/test/isolate"
	"github.com/capiam/capiam/test/programs"
)

func TestMain(m *testing.M) {
	if os.Getenv(programs.Env) == "" {
		os.Exit(m.Run()) // every test says why it is skipped
	}
	code, isolated, why := isolate.Run()
	if isolated {
		os.Exit(code)
	}
	if why != "" {
		fmt.Printf("not isolated: %s\n", why)
	}
	os.Exit(m.Run())
}
