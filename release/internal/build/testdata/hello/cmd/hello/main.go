// Command hello is a small program to test builds with.
package main

import (
	_ "embed"
	"os"

	"github.com/capiam/capiam/pkg/version"
)

//go:embed embedded.txt
var embedded string

func main() {
	os.Stdout.WriteString("hello " + version.String() + " " + embedded)
}
