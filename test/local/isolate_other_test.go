//go:build !linux

package local_test

// isolate does nothing: network namespaces are Linux's.
func isolate() (code int, isolated bool, why string) {
	return 0, false, "network namespaces are Linux's"
}
