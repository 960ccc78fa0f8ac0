//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// ownedBy tells whether a file is a user's and a group's.
func ownedBy(info fs.FileInfo, user, group int) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == user && int(s.Gid) == group
}
