//go:build !linux

package authenticator

import (
	"errors"
	"syscall"
)

// sharePort refuses: only on Linux do connections go to each of two listeners.
func sharePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("server.sharePort: only Linux has ports that two servers share")
}
