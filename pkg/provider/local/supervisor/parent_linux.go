package supervisor

import "syscall"

// diesWithParent has the kernel kill a child whose supervisor was killed, so
// that it never holds a port against the next one.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
