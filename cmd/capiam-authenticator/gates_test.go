package main

import (
	"context"
	"strings"
	"testing"
)

func TestFeatureGates(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"SSORoleMatch=true", "SSORoleMatch=True", "SSORoleMatch=TRUE", "SSORoleMatch=t", "SSORoleMatch=T", "SSORoleMatch=1",
		" SSORoleMatch = true , ConfiguredInitDirectories=1,", "AllAlpha=false,AllBeta=0", "",
	} {
		f := gateFlag{}
		if err := f.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		again := gateFlag{}
		if err := again.Set(f.String()); err != nil || again.String() != f.String() {
			t.Errorf("%q is read back as %q: %v", f.String(), again.String(), err)
		}
	}
	for text, want := range map[string]string{
		"Foo=true":            `unknown gate "Foo"`,
		"SSORoleMatch":        "want SSORoleMatch=true",
		"SSORoleMatch=yes":    "want SSORoleMatch=true",
		"SSORoleMatch=False":  "always on here",
		"AllAlpha=1,x":        `unknown gate "x"`,
		"SSORoleMatch=true=1": "want SSORoleMatch=true",
	} {
		if err := (gateFlag{}).Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestGatesAreNoSettings: the flag survives being put back after the file was
// read.
func TestGatesAreNoSettings(t *testing.T) {
	t.Parallel()
	status, _, text := command(context.Background(), "verify", "-i", "c", "--feature-gates=SSORoleMatch=True", "--feature-gates=AllAlpha=1")
	if status != 1 || !strings.Contains(text, "no token") {
		t.Errorf("%d %s", status, text)
	}
}
