package build

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// File is a file that goes into an archive.
type File struct {
	// Name is its path in the archive, with slashes.
	Name string
	// Path is where its content is.
	Path string
	Mode fs.FileMode
}

// Archive packs files into a tar.gz or a zip, as the name says. Names, order,
// owners and times are those given here and nothing of the machine's.
func Archive(path string, files []File, modTime time.Time) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	to, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if strings.HasSuffix(path, ".zip") {
		err = writeZip(to, files, modTime)
	} else {
		err = writeTarGz(to, files, modTime)
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("archive %s: %w", path, err)
	}
	return nil
}

func writeTarGz(to io.Writer, files []File, modTime time.Time) error {
	z, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := WriteTar(z, files, modTime); err != nil {
		return err
	}
	return z.Close()
}

// WriteTar writes files as a tar that depends on nothing but its arguments.
func WriteTar(to io.Writer, files []File, modTime time.Time) error {
	w := tar.NewWriter(to)
	for _, f := range files {
		if err := addTar(w, f, modTime); err != nil {
			return err
		}
	}
	return w.Close()
}

func addTar(w *tar.Writer, f File, modTime time.Time) error {
	from, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: f.Name, Mode: int64(f.Mode.Perm()), Size: info.Size(),
		ModTime: modTime.UTC().Truncate(time.Second), Format: tar.FormatUSTAR,
	}); err != nil {
		return err
	}
	_, err = io.Copy(w, from)
	return err
}

func writeZip(to io.Writer, files []File, modTime time.Time) error {
	w := zip.NewWriter(to)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: modTime.UTC().Truncate(time.Second)}
		h.SetMode(f.Mode)
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		from, err := os.Open(f.Path)
		if err != nil {
			return err
		}
		_, err = io.Copy(entry, from)
		if err = errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return w.Close()
}

// Sums are a file's checksums in hexadecimal.
type Sums struct{ SHA256, SHA512 string }

// Sum reads a file's checksums.
func Sum(path string) (Sums, error) {
	f, err := os.Open(path)
	if err != nil {
		return Sums{}, fmt.Errorf("checksum: %w", err)
	}
	defer f.Close()
	short, long := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(short, long), f); err != nil {
		return Sums{}, fmt.Errorf("checksum %s: %w", path, err)
	}
	return Sums{hex.EncodeToString(short.Sum(nil)), hex.EncodeToString(long.Sum(nil))}, nil
}

// WriteSums writes SHA256SUMS for files of one directory, and beside each its
// own .sha256, both in the form that sha256sum -c reads.
func WriteSums(dir string, names []string) error {
	var all strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		sums, err := Sum(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		line := sums.SHA256 + "  " + name + "\n"
		all.WriteString(line)
		if err := os.WriteFile(filepath.Join(dir, name+".sha256"), []byte(line), 0o644); err != nil {
			return fmt.Errorf("checksum: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(all.String()), 0o644); err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	return nil
}

func writeJSON(to io.Writer, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
