//go:build !linux

package management

import "syscall"

func diesWithParent() *syscall.SysProcAttr { return nil }
