//go:build !linux

package local_test

import "syscall"

// process is one that works for a machine's clusters.
type process struct {
	pid     int
	command string
}

func (p process) String() string { return p.command }

// processes finds nothing where there is no /proc.
func (m *machine) processes() []process { return nil }

// alive tells whether a process is there.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
