//go:build unix

package local

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByMe tells whether the file belongs to the user who runs this.
func ownedByMe(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// detached makes a started process outlive its parent's terminal and session.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}
