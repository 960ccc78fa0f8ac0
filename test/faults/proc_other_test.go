//go:build !linux

package faults_test

import (
	"syscall"
	"testing"
	"time"
)

func diesWithTest() *syscall.SysProcAttr { return nil }

// memory and cpuTime know nothing where there is no /proc: nothing is too much.
func memory(*testing.T, int) (now, most int64) { return 0, 0 }

func cpuTime(*testing.T, int) time.Duration { return 0 }

func openFiles(*testing.T) int { return 256 }

func threadTime(*testing.T) time.Duration { return time.Duration(time.Now().UnixNano()) }
