//go:build !linux

package isolate

// Run does nothing: network namespaces are Linux's.
func Run() (code int, isolated bool, why string) {
	return 0, false, "network namespaces are Linux's"
}
