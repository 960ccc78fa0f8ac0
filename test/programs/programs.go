// Package programs finds the programs that tests run. They are built before, by
// `make test`, because compiling Kubernetes is no part of a test.
package programs

import (
	"os"
	"path/filepath"
	"testing"
)

// Env names the directory with the programs under test.
const Env = "CAPIAM_BIN"

// Dir returns that directory, absolute. Without one the test is skipped; with one
// that lacks any of the programs it fails.
func Dir(t testing.TB, names ...string) string {
	t.Helper()
	bin := os.Getenv(Env)
	if bin == "" {
		t.Skipf("%s does not say where the programs are: run by make test", Env)
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Fatalf("%s: run by make test, which builds what is needed", err)
		}
	}
	return bin
}
