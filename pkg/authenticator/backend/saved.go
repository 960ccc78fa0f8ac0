package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/mapping"
)

// savedTable is a last good table as it is kept over a restart.
type savedTable struct {
	// ClusterID is whose table it is.
	ClusterID string `json:"clusterID"`
	mapping.Saved
	SavedAt time.Time `json:"savedAt"`
	// SeenAt is when the table was last known to be in force.
	SeenAt time.Time `json:"seenAt"`
	// Missing is when a section that is kept was first seen deleted or emptied.
	Missing map[string]time.Time `json:"missing,omitempty"`
}

func savedPath(dir, name string) string { return filepath.Join(dir, name+".last-good.json") }

// loadTable reads a cluster's saved table. One that cannot be read, or is another
// cluster's, is as good as none.
func loadTable(dir, name, clusterID string, log *slog.Logger) savedTable {
	if dir == "" {
		return savedTable{}
	}
	data, err := os.ReadFile(savedPath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return savedTable{}
	}
	var t savedTable
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil {
		log.Warn("saved mappings not read", "error", err.Error())
		return savedTable{}
	}
	if t.ClusterID != clusterID {
		log.Warn("saved mappings not taken: they are another cluster's", "clusterID", t.ClusterID)
		return savedTable{}
	}
	return t
}

func (t savedTable) store(dir, name string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("save mappings: %w", err)
	}
	if _, err := atomicfile.Write(savedPath(dir, name), data, atomicfile.Private); err != nil {
		return fmt.Errorf("save mappings: %w", err)
	}
	return nil
}

// leftoverAge is how old a file is that nobody writes any more.
const leftoverAge = time.Hour

// removeLeftovers removes what a server that was killed has written in part. The
// directory outlives pods, and nobody else looks into it.
func removeLeftovers(dir, name string) {
	if dir == "" {
		return
	}
	parts, err := filepath.Glob(filepath.Join(dir, "."+filepath.Base(savedPath(dir, name))+".*"))
	if err != nil {
		return
	}
	for _, part := range parts {
		if info, err := os.Lstat(part); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.Remove(part) // of no use, and of no harm
		}
	}
}
