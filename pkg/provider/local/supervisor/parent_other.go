//go:build !linux

package supervisor

import "syscall"

// diesWithParent does nothing where the kernel cannot tie a child's life to its
// parent's: a killed supervisor leaves its children there.
func diesWithParent() *syscall.SysProcAttr { return nil }
