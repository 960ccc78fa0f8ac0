package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// ownedMode is for a directory that nobody but its owner looks into.
const ownedMode fs.FileMode = 0o700

func newOwnCommand(g *globals) *cobra.Command {
	var user, group uint32
	cmd := &cobra.Command{
		Use:   "own DIRECTORY",
		Short: "Make a directory of the node the server's own",
		Long: `Make a directory, or take one that is there, for the user that the server runs as.
The files in it are given to that user, too, as the server may have run as another.
Symbolic links are not followed, and beside the directory nothing is touched.

It runs as the init container of the server's pod, as root with no capability but
CHOWN: the kubelet makes directories of the node root's. The server can do without
the directory, which only keeps its last good mappings (--snapshot-dir). So if it
cannot be had, the log says why, and the exit status is 0 all the same.`,
		Example: `  capiam-authenticator own --user 65532 --group 65532 /var/lib/capiam-authenticator/mappings`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			log, err := g.logger()
			if err != nil {
				return err
			}
			if err := own(args[0], int(user), int(group)); err != nil {
				log.Warn("the last good mappings will be lost with this pod: the server cannot have its directory",
					"directory", args[0], "error", err.Error())
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Uint32Var(&user, "user", 0, "`number` of the user")
	f.Uint32Var(&group, "group", 0, "`number` of the group")
	_ = cmd.MarkFlagRequired("user")
	_ = cmd.MarkFlagRequired("group")
	return cmd
}

// own makes dir, in a directory that is there, a user's. One that is the user's
// already is left alone: another server may be writing to it. It can be called
// again after it was cut short.
func own(dir string, user, group int) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	// Nothing outside of a Root is reached through it, whatever a link in it says.
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("open the directory around it: %w", err)
	}
	defer func() { err = errors.Join(err, parent.Close()) }()
	name := filepath.Base(dir)
	if err := parent.Mkdir(name, ownedMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := parent.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is in the way: it is no directory, or a symbolic link to one; remove it", name)
	}
	if info.Mode().Perm() == ownedMode && ownedBy(info, user, group) {
		return nil
	}
	// Without its capabilities, root changes and looks into only what is its own.
	if err := parent.Lchown(name, os.Geteuid(), -1); err != nil {
		return err
	}
	if err := parent.Chmod(name, ownedMode); err != nil {
		return err
	}
	if err := ownFiles(parent, name, user, group); err != nil {
		return err
	}
	return parent.Lchown(name, user, group)
}

// ownFiles gives the files of a directory to a user. The server makes nothing but
// files.
func ownFiles(parent *os.Root, name string, user, group int) (err error) {
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		// Another server may have renamed it just now.
		if err := dir.Lchown(e.Name(), user, group); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
