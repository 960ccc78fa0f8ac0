// Package atomicfile writes a file whole or not at all: whoever reads it sees
// the old content or the new, and a full disk or a crash leaves the old.
//
// Everything in capiam that writes a file a person or a server will read goes
// through it.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Private is the mode of files with credentials, readable by their owner alone.
const Private fs.FileMode = 0o600

// Write puts data into the file, and tells whether that changed anything: a
// file that already has this content and mode is left alone. Missing
// directories are made with mode 0700.
func Write(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	if same(path, data, mode) {
		return false, nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	// In the same directory, because a rename does not cross file systems.
	// CreateTemp makes the file with mode 0600.
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Chmod(mode)
	}
	if err == nil {
		// Without this the rename could reach the disk before the content.
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, nil
}

func same(path string, data []byte, mode fs.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != 0 || info.Size() != int64(len(data)) {
		return false
	}
	// Windows knows no more of a mode than whether it may be written.
	if runtime.GOOS != "windows" && info.Mode() != mode {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, data)
}
