// Package isolate runs a test program where it can reach nothing but itself: in
// a network namespace that has only loopback, with mounts of its own, without
// being root.
//
// A test package calls Run first in its TestMain. Programs that listen on all
// addresses are then no concern, ports are never taken by somebody else, and a
// test that would reach the Internet fails everywhere alike.
package isolate

import "os"

// insideEnv is set for the copy of the program that runs in namespaces of its
// own.
const insideEnv = "CAPIAM_TEST_ISOLATED"

// Inside tells whether this process runs in namespaces of its own.
func Inside() bool { return os.Getenv(insideEnv) != "" }
