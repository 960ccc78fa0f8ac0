package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns how long a process has been running on CPUs, in user and
// kernel mode together: what /proc/PID/stat says in ticks of 10 ms, here from
// the process's clock (clock_getcpuclockid(3)), in nanoseconds.
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedClock, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
