package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// Installer puts clients into a directory.
type Installer struct {
	Downloader Downloader
	// Dir is where the program goes. It is made if it is missing.
	Dir string
	// Receipts is a directory with a note for each program that was
	// installed, so that the next run can see that there is nothing to do.
	// Without one every run downloads. It holds nothing that cannot be lost.
	Receipts string
}

// Installed is what an installation came to.
type Installed struct {
	// Path is the program's.
	Path    string  `json:"path"`
	Asset   Asset   `json:"asset"`
	Checked Checked `json:"checked"`
	// Changed is false if this very program was there already.
	Changed bool `json:"changed"`
}

// receipt notes which archive a program came from. It is found by the
// program's own checksum, so that a program that was changed has none.
type receipt struct {
	URI     string  `json:"uri"`
	Checked Checked `json:"checked"`
}

// ProgramName is the file name of a client on an operating system.
func ProgramName(client, os string) string {
	if os == "windows" {
		return client + ".exe"
	}
	return client
}

// Install downloads an asset, checks it, and puts its program into the
// directory in one step: whoever looks there sees the old program, or none, or
// the new one. Whatever goes wrong, nothing else is left there.
func (i *Installer) Install(ctx context.Context, a Asset) (result Installed, err error) {
	path := filepath.Join(i.Dir, ProgramName(a.Client, a.OS))
	result = Installed{Path: path, Asset: a}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return result, fmt.Errorf("install %s: %s is a directory", a.Client, path)
	}
	if r, ok := i.receipt(path, a); ok {
		result.Checked = r.Checked
		return result, nil
	}
	// The program is made beside its place, because a rename does not cross
	// file systems, and before the download, so that a directory that cannot
	// be written is found out first.
	made, err := makeDir(i.Dir)
	if err != nil {
		return result, fmt.Errorf("install %s: %w", a.Client, err)
	}
	defer func() {
		if err != nil {
			made.remove()
		}
	}()
	temp, err := os.MkdirTemp(i.Dir, ".capiam-install-*")
	if err != nil {
		return result, fmt.Errorf("install %s: cannot write to %s, choose another directory: %w", a.Client, i.Dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	program := filepath.Join(temp, filepath.Base(path))
	if result.Checked, err = i.fetch(ctx, a, temp, program); err != nil {
		return result, fmt.Errorf("install %s: %w", a.Client, err)
	}
	sum, err := fileSum(program)
	if err != nil {
		return result, fmt.Errorf("install %s: %w", a.Client, err)
	}
	if old, err := fileSum(path); err != nil || old != sum {
		if err := os.Rename(program, path); err != nil {
			return result, fmt.Errorf("install %s: %w", a.Client, err)
		}
		result.Changed = true
	}
	i.note(sum, a, result.Checked)
	return result, nil
}

// fetch makes the program in a directory of its own.
func (i *Installer) fetch(ctx context.Context, a Asset, dir, program string) (Checked, error) {
	archive, err := os.Create(filepath.Join(dir, "archive"))
	if err != nil {
		return Checked{}, err
	}
	defer archive.Close()
	checked, err := i.Downloader.Download(ctx, a, archive)
	if err != nil {
		return Checked{}, err
	}
	info, err := archive.Stat()
	if err != nil {
		return Checked{}, err
	}
	to, err := os.OpenFile(program, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return Checked{}, err
	}
	err = extract(archive, info.Size(), filepath.Base(program), i.Downloader.limits(), to)
	if err != nil {
		err = fmt.Errorf("%s cannot be unpacked: %w", redacted(a.URI), err)
	} else if err = to.Chmod(0o755); err == nil {
		// Without this the rename could reach the disk before the content.
		err = to.Sync()
	}
	return checked, errors.Join(err, to.Close())
}

// receipt tells whether the program at a path came from this very asset.
func (i *Installer) receipt(path string, a Asset) (receipt, bool) {
	var r receipt
	info, err := os.Lstat(path)
	if i.Receipts == "" || err != nil || !info.Mode().IsRegular() || (a.OS != "windows" && info.Mode().Perm()&0o111 == 0) {
		return r, false
	}
	sum, err := fileSum(path)
	if err != nil {
		return r, false
	}
	data, err := os.ReadFile(i.receiptPath(sum))
	if err != nil || json.Unmarshal(data, &r) != nil || r.URI != a.URI {
		return r, false
	}
	return r, a.SHA256 == "" || a.SHA256 == r.Checked.SHA256
}

// note leaves a receipt. One that cannot be written only costs a download.
func (i *Installer) note(sum string, a Asset, checked Checked) {
	if i.Receipts == "" {
		return
	}
	if data, err := json.Marshal(receipt{URI: a.URI, Checked: checked}); err == nil {
		_, _ = atomicfile.Write(i.receiptPath(sum), append(data, '\n'), atomicfile.Private)
	}
}

func (i *Installer) receiptPath(sum string) string {
	return filepath.Join(i.Receipts, sum+".json")
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// madeDirs are directories that were made, innermost first.
type madeDirs []string

// makeDir makes a directory and its parents, and tells which it made.
func makeDir(dir string) (madeDirs, error) {
	var missing madeDirs
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, at)
		if at == filepath.Dir(at) {
			break
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return missing, nil
}

// remove takes the directories away again, as far as they are empty.
func (m madeDirs) remove() {
	for _, dir := range m {
		_ = os.Remove(dir)
	}
}
