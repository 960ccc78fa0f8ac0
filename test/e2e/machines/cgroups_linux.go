package machines

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one of the control-group hierarchies of version 1.
type hierarchy struct {
	mountpoint string
	// controllers are its mount options: "cpu,cpuacct", "name=systemd".
	controllers string
}

// needed are the controllers without which kubelet does not start.
var needed = []string{"cpu", "cpuacct", "cpuset", "memory", "pids"}

// hierarchies finds the host's. A host with version 2 alone is refused: its
// rules about who may have processes are others, and were not tried.
func hierarchies() ([]hierarchy, error) { return hierarchiesOf("/proc/self/mountinfo") }

func hierarchiesOf(mountinfo string) ([]hierarchy, error) {
	file, err := os.Open(mountinfo)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []hierarchy
	seen := map[string]bool{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(super) < 3 || super[0] != "cgroup" {
			continue
		}
		options := slices.DeleteFunc(strings.Split(super[2], ","), func(option string) bool {
			return option == "rw" || option == "ro" || option == "xattr" || strings.HasPrefix(option, "release_agent=")
		})
		h := hierarchy{mountpoint: fields[4], controllers: strings.Join(options, ",")}
		if !seen[h.controllers] {
			found, seen[h.controllers] = append(found, h), true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, h := range found {
		for controller := range strings.SplitSeq(h.controllers, ",") {
			have[controller] = true
		}
	}
	missing := slices.DeleteFunc(slices.Clone(needed), func(name string) bool { return have[name] })
	if len(missing) > 0 {
		return nil, fmt.Errorf("no control groups of version 1 for %s are mounted", strings.Join(missing, ", "))
	}
	return found, nil
}

// joinCgroups puts a process into control groups named for its machine.
func joinCgroups(name string, pid int) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		parent := filepath.Join(h.mountpoint, cgroupParent)
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		if slices.Contains(strings.Split(h.controllers, ","), "cpuset") {
			// A group of cpuset has no processors, unless it takes its parent's.
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				raw, err := os.ReadFile(filepath.Join(h.mountpoint, file))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(parent, file), raw, 0o644); err != nil {
					return err
				}
			}
			if err := os.WriteFile(filepath.Join(parent, "cgroup.clone_children"), []byte("1"), 0o644); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes a machine's control groups, or with an empty name the
// group of all machines. Its processes may still be ending.
func removeCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var problems []error
	for _, h := range all {
		if err := removeCgroup(filepath.Join(h.mountpoint, cgroupParent, name)); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func removeCgroup(dir string) error {
	var groups []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(groups) // the innermost first
	deadline := time.Now().Add(20 * time.Second)
	for _, group := range groups {
		for {
			err := unix.Rmdir(group)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("control group %s: %w", group, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
