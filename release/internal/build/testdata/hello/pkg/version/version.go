// Package version stands for capiam's.
package version

var version, commit = "unset", "unset"

// String is what the linker set.
func String() string { return version + " " + commit }
