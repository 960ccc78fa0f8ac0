package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// gates are aws-iam-authenticator's feature gates. What they switch on is not
// optional here.
var gates = []string{"AllAlpha", "AllBeta", "ConfiguredInitDirectories", "IAMIdentityMappingCRD", "SSORoleMatch"}

// gateFlag is the value of --feature-gates: "Gate=true,Other=false", with blanks
// around either and any truth value that strconv.ParseBool knows, as Kubernetes
// programs take it.
type gateFlag map[string]bool

// Set implements pflag.Value. Each occurrence of the flag adds to those before.
// It refuses gates that nobody knows, and ones that are to be off.
func (f gateFlag) Set(text string) error {
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !slices.Contains(gates, name) {
			return fmt.Errorf("unknown gate %q (one of %s)", name, strings.Join(gates, ", "))
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("want %s=true, got %q", name, item)
		}
		if !on && !strings.HasPrefix(name, "All") {
			return fmt.Errorf("%s=%s is not honoured: what it stands for is always on here", name, value)
		}
		f[name] = on
	}
	return nil
}

// String implements pflag.Value, in a form that Set reads.
func (f gateFlag) String() string {
	items := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		items = append(items, fmt.Sprintf("%s=%t", name, f[name]))
	}
	return strings.Join(items, ",")
}

// Type implements pflag.Value.
func (gateFlag) Type() string { return "mapStringBool" }
