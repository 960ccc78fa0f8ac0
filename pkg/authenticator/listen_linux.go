package authenticator

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharePort lets another process of the same user listen on a socket's port too:
// the kernel gives each new connection to one of them (socket(7), SO_REUSEPORT).
func sharePort(_, _ string, conn syscall.RawConn) error {
	var optErr error
	err := conn.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, optErr)
}
