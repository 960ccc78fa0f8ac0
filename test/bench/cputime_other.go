//go:build !linux

package main

import (
	"errors"
	"time"
)

// cpuTime cannot be asked of another process here.
func cpuTime(int) (time.Duration, error) {
	return 0, errors.New("the benchmark of the authenticator needs Linux")
}
