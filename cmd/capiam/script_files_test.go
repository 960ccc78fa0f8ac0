package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdRemember: remember takes a note of every file of the script, for unchanged.
func cmdRemember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: remember")
	}
	scriptOf(ts).remembered = files(ts)
}

// cmdUnchanged: unchanged checks that since remember no file was changed, made
// or removed.
func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 || scriptOf(ts).remembered == nil {
		ts.Fatalf("usage: unchanged, after remember")
	}
	compareFiles(ts, scriptOf(ts).remembered, files(ts))
}

// alive are the files of a cluster's directory that change while it runs,
// without anybody's doing, and what the simulated STS remembers of identities
// it was once asked to play.
var alive = []string{
	"etcd", "logs", "sts",
	filepath.Join("authenticator", "aws-auth.last-good.json"),
}

// files lists everything below the script's directory, which is also its home
// and its data directory: kind, mode and content of each.
func files(ts *testscript.TestScript) map[string]string {
	root := ts.Getenv("WORK")
	list := map[string]string{}
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if isAlive(name) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		state := info.Mode().String()
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			state += " " + hex.EncodeToString(sum[:])
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			state += " to " + target
		}
		list[name] = state
		return nil
	}))
	return list
}

func isAlive(name string) bool {
	rest, ok := strings.CutPrefix(name, filepath.Join("data", "capiam", "clusters")+string(filepath.Separator))
	if !ok {
		return false
	}
	_, rest, _ = strings.Cut(rest, string(filepath.Separator))
	return slices.Contains(alive, rest)
}

func compareFiles(ts *testscript.TestScript, before, after map[string]string) {
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		switch now, there := after[name]; {
		case !there:
			differ = append(differ, "removed: "+name)
		case now != before[name]:
			differ = append(differ, fmt.Sprintf("changed: %s, from %s to %s", name, before[name], now))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, there := before[name]; !there {
			differ = append(differ, "made: "+name)
		}
	}
	if len(differ) > 0 {
		ts.Fatalf("files are not as they were:\n%s", strings.Join(differ, "\n"))
	}
}

// cmdModes: modes OCTAL FILE... checks the permissions of files.
func cmdModes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: modes octal file...")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm(); got != fs.FileMode(want) {
			ts.Fatalf("%s has mode %o, want %o", name, got, want)
		}
	}
}
