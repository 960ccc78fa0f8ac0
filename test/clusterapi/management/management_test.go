package management_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/test/clusterapi/management"
)

func TestStartSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	dir := filepath.Join(t.TempDir(), "management")
	for name, o := range map[string]management.Options{
		"want a directory":        {Bin: bin},
		"not absolute":            {Dir: dir, Bin: "bin"},
		"make build capi-manager": {Dir: dir, Bin: bin},
	} {
		if _, err := management.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q: %v", name, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
}

func TestRemoveOfNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := management.Remove(ctx, filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}
