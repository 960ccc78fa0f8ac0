// A small program to test releases with.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
