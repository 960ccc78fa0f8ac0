package local_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is one that works for a machine's clusters.
type process struct {
	pid     int
	command string
}

func (p process) String() string { return fmt.Sprintf("process %d: %s", p.pid, p.command) }

// processes are those that have the machine's data directory in their command
// line, which every part of a local cluster has. Zombies, which only wait to be
// reaped, have none.
func (m *machine) processes() []process {
	var found []process
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || !bytes.Contains(line, []byte(m.data)) {
			continue
		}
		found = append(found, process{pid: pid, command: strings.ReplaceAll(string(line), "\x00", " ")})
	}
	return found
}

// alive tells whether a process runs; a zombie does not.
func alive(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && len(line) > 0
}
