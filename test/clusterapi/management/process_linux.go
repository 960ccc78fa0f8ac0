package management

import "syscall"

// diesWithParent has the kernel kill a program whose parent was killed, and
// keeps a terminal's Ctrl-C from it, so that everything stops in order.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
