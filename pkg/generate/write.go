package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/render"
)

// headerStart is how every file with a header begins.
var headerStart = []byte("# Cluster ")

// Change is what Write did to a file.
type Change struct {
	// Path is the file, below the directory that was named.
	Path string
	// Action is "written", "unchanged" or "removed".
	Action string
}

// Write makes the directory hold the result's files. One that does not exist
// yet appears with all of them or not at all; in one that does, each file is
// replaced whole. Files of an earlier run that no longer belong are removed,
// anybody else's stay.
func (r *Result) Write(ctx context.Context, dir string) ([]Change, error) {
	if dir == "" {
		return nil, errNoDir
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.writeNew(dir)
	case err != nil:
		return nil, wrapDir(dir, err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, name a directory", dir)
	}
	changes, err := writeAll(dir, r.Files)
	if err != nil {
		return changes, err
	}
	removed, err := r.removeStale(dir)
	return append(changes, removed...), err
}

// writeNew fills a directory under another name first.
func (r *Result) writeNew(dir string) (changes []Change, err error) {
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, wrapDir(dir, err)
	}
	temp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".*")
	if err != nil {
		return nil, wrapDir(dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if _, err := writeAll(temp, r.Files); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, dir); err != nil {
		return nil, wrapDir(dir, err)
	}
	for _, f := range r.Files {
		changes = append(changes, Change{Path: at(dir, f.Path), Action: "written"})
	}
	return changes, nil
}

func writeAll(dir string, files []render.File) ([]Change, error) {
	var changes []Change
	for _, f := range files {
		changed, err := atomicfile.Write(at(dir, f.Path), f.Data, f.Mode)
		if err != nil {
			return changes, err
		}
		c := Change{Path: at(dir, f.Path), Action: "unchanged"}
		if changed {
			c.Action = "written"
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// removeStale removes the files of objects that the spec no longer asks for:
// applied with the others, they would bring back what was given up.
func (r *Result) removeStale(dir string) ([]Change, error) {
	var changes []Change
	current := map[string]bool{}
	for _, f := range r.Files {
		current[f.Path] = true
	}
	for _, name := range []string{clusterAPIFile, bootstrapFile, crdsFile, awsAuthFile, identityFile} {
		if current[name] {
			continue
		}
		file := at(dir, name)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(data, headerStart) {
			continue
		}
		if err == nil {
			err = os.Remove(file)
		}
		if err != nil {
			return changes, wrapDir(dir, err)
		}
		changes = append(changes, Change{Path: file, Action: "removed"})
	}
	return changes, nil
}
