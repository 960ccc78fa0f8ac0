// A small program to test releases with.
package main

import (
	"os"

	"github.com/capiam/capiam/release"
)

func main() { os.Stdout.WriteString(release.Capiam) }
