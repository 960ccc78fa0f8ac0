package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// ownArgs are own's for this process's user, who needs no rights for it.
func ownArgs(dir string) []string {
	return []string{"own", "--user", strconv.Itoa(os.Getuid()), "--group", strconv.Itoa(os.Getgid()), dir}
}

func TestOwn(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has no group and other bits")
	}
	for name, prepare := range map[string]func(dir string) error{
		"nothing there": func(string) error { return nil },
		"its own":       func(dir string) error { return os.Mkdir(dir, 0o700) },
		"too open":      func(dir string) error { return os.Mkdir(dir, 0o755) },
		"with files and more": func(dir string) error {
			for _, err := range []error{
				os.MkdirAll(filepath.Join(dir, "sub"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
				os.Symlink("/absent", filepath.Join(dir, "link")),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			around := t.TempDir()
			dir := filepath.Join(around, "mappings")
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			before := modes(t, around)
			for range 2 {
				if status, out, text := command(context.Background(), ownArgs(dir+"/")...); status != 0 || out != "" || text != "" {
					t.Fatalf("status %d, said %q, %q", status, out, text)
				}
			}
			before["mappings"] = fs.ModeDir | 0o700
			if got := modes(t, around); !maps.Equal(got, before) {
				t.Errorf("got %v, want %v", got, before)
			}
		})
	}
}

// TestOwnNeverStopsTheServer: what cannot be had is said, and is no failure.
func TestOwnNeverStopsTheServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(around string) error
		want    string
	}{
		"a file in its place": {func(around string) error {
			return os.WriteFile(filepath.Join(around, "mappings"), []byte("x"), 0o640)
		}, "mappings is in the way"},
		"a link in its place": {func(around string) error {
			return os.Symlink("elsewhere", filepath.Join(around, "mappings"))
		}, "mappings is in the way"},
		"a link out of it": {func(around string) error {
			return os.Symlink("/", filepath.Join(around, "mappings"))
		}, "mappings is in the way"},
		"nothing around it": {os.RemoveAll, "open the directory around it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			around := filepath.Join(t.TempDir(), "around")
			if err := os.MkdirAll(filepath.Join(around, "elsewhere"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tc.prepare(around); err != nil {
				t.Fatal(err)
			}
			before := modes(t, around)
			status, _, text := command(context.Background(), ownArgs(filepath.Join(around, "mappings"))...)
			if status != 0 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, tc.want) {
				t.Errorf("status %d, said %q, want %q", status, text, tc.want)
			}
			if got := modes(t, around); !maps.Equal(got, before) {
				t.Errorf("got %v, had %v", got, before)
			}
		})
	}
}

func TestOwnNeedsToKnowWhose(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mappings")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{dir}, `required flag(s) "group", "user" not set`},
		{[]string{"--user=-1", "--group=1", dir}, "--user"},
		{[]string{"--user=1", "--group=1"}, "accepts 1 arg"},
	} {
		status, _, text := command(context.Background(), append([]string{"own"}, tc.args...)...)
		if status != 1 || !strings.Contains(text, tc.want) {
			t.Errorf("%v: status %d, said %q, want %q", tc.args, status, text, tc.want)
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("made a directory for nobody")
	}
}

// modes are the modes of all that is below a directory, by its path there.
func modes(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	all := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
