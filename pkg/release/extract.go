package release

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// errTooLarge is what reading past a limit gives.
var errTooLarge = errors.New("it unpacks to more than any client is large")

// entry is one member of an archive.
type entry struct {
	name string
	// regular says that it is a file with content of its own; link that it
	// points elsewhere.
	regular, link bool
	open          func() (io.ReadCloser, error)
}

// extract copies a program out of an archive, a gzipped tar or a zip. Every
// entry is looked at, and one that would leave the directory it is unpacked in
// condemns the whole archive, though nothing but the program is ever written.
func extract(archive io.ReaderAt, size int64, program string, limits Limits, to io.Writer) error {
	walk, err := walker(archive, size, limits)
	if err != nil {
		return err
	}
	found := ""
	count := 0
	err = walk(func(e entry) error {
		if count++; count > limits.Entries {
			return fmt.Errorf("it has more than %d entries", limits.Entries)
		}
		if err := checkEntry(e.name); err != nil {
			return err
		}
		clean := path.Clean(e.name)
		if path.Base(clean) != program {
			return nil
		}
		if e.link {
			return fmt.Errorf("%s in it is a link", program)
		}
		if !e.regular {
			return nil
		}
		// The one nearest to the top is the program: licence texts of a
		// program lie in directories that may have its name.
		switch depth := strings.Count(clean, "/"); {
		case found == "" || depth < strings.Count(found, "/"):
			found = clean
		case depth == strings.Count(found, "/"):
			return fmt.Errorf("it has two files %s", program)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if found == "" {
		return fmt.Errorf("it has no %s", program)
	}
	return walk(func(e entry) error {
		if !e.regular || path.Clean(e.name) != found {
			return nil
		}
		content, err := e.open()
		if err != nil {
			return err
		}
		defer content.Close()
		n, err := io.Copy(to, io.LimitReader(content, limits.Unpacked+1))
		if err == nil && n > limits.Unpacked {
			err = errTooLarge
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("%s in it is empty", program)
		}
		return err
	})
}

// checkEntry refuses a name that is not below the directory an archive is
// unpacked in, on any operating system.
func checkEntry(name string) error {
	slashed := strings.ReplaceAll(name, `\`, "/")
	inside := strings.TrimSuffix(strings.TrimPrefix(slashed, "./"), "/")
	if inside == "" || inside == "." {
		return nil
	}
	drive := len(slashed) > 1 && slashed[1] == ':'
	if drive || !fs.ValidPath(path.Clean(inside)) || strings.Contains("/"+slashed+"/", "/../") || strings.ContainsRune(name, 0) {
		return fmt.Errorf("its entry %q would be outside of the directory it is unpacked in", name)
	}
	return nil
}

// walker tells the kind of archive by its first bytes.
func walker(archive io.ReaderAt, size int64, limits Limits) (func(func(entry) error) error, error) {
	var magic [4]byte
	if _, err := archive.ReadAt(magic[:], 0); err != nil {
		return nil, errors.New("it is neither a tar.gz nor a zip")
	}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return func(each func(entry) error) error {
			return walkTar(io.NewSectionReader(archive, 0, size), limits, each)
		}, nil
	case string(magic[:]) == "PK\x03\x04":
		return func(each func(entry) error) error { return walkZip(archive, size, limits, each) }, nil
	}
	return nil, errors.New("it is neither a tar.gz nor a zip")
}

func walkTar(archive io.Reader, limits Limits, each func(entry) error) error {
	plain, err := gzip.NewReader(bufio.NewReader(archive))
	if err != nil {
		return fmt.Errorf("it is not a tar.gz: %w", err)
	}
	defer func() { _ = plain.Close() }()
	bounded := &boundedReader{r: plain, left: limits.Unpacked}
	var promised int64
	for files := tar.NewReader(bounded); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			// gzip's own checksum comes after the last entry.
			_, err := io.Copy(io.Discard, bounded)
			return damaged("tar.gz", err)
		}
		if err != nil {
			return damaged("tar.gz", err)
		}
		// A sparse entry is larger than what stands for it.
		if promised += header.Size; promised > limits.Unpacked || header.Size < 0 {
			return errTooLarge
		}
		err = each(entry{
			name:    header.Name,
			regular: header.Typeflag == tar.TypeReg,
			link:    header.Typeflag == tar.TypeSymlink || header.Typeflag == tar.TypeLink,
			open:    func() (io.ReadCloser, error) { return io.NopCloser(files), nil },
		})
		if err != nil {
			return damaged("tar.gz", err)
		}
	}
}

func walkZip(archive io.ReaderAt, size int64, limits Limits, each func(entry) error) error {
	// An error about names comes with a usable reader; names are checked here.
	files, err := zip.NewReader(archive, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return damaged("zip", err)
	}
	var promised uint64
	for _, f := range files.File {
		if promised += f.UncompressedSize64; promised > uint64(limits.Unpacked) || f.UncompressedSize64 > uint64(limits.Unpacked) {
			return errTooLarge
		}
		err := each(entry{
			name:    f.Name,
			regular: f.Mode().IsRegular(),
			link:    f.Mode()&fs.ModeSymlink != 0,
			open:    f.Open,
		})
		if err != nil {
			return damaged("zip", err)
		}
	}
	return nil
}

// damaged explains errors of the archive formats, and passes others through.
func damaged(kind string, err error) error {
	for _, known := range []error{
		io.ErrUnexpectedEOF, gzip.ErrHeader, gzip.ErrChecksum, tar.ErrHeader,
		zip.ErrFormat, zip.ErrAlgorithm, zip.ErrChecksum,
	} {
		if errors.Is(err, known) {
			return fmt.Errorf("it is not a sound %s: %w", kind, err)
		}
	}
	return err
}

// boundedReader fails once more than left bytes were read.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
