package version

import (
	"runtime"
	"testing"
)

func TestGet(t *testing.T) {
	t.Parallel()
	got := Get()
	if got.Version != "v0.0.0-dev" || got.GoVersion != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("got %+v", got)
	}
}
