package machines

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// settings are those of the whole host that something in a node would like to
// change. No machine can; this is to notice if one did.
var settings = []string{
	"/proc/sys/fs/inotify/max_user_instances",
	"/proc/sys/fs/inotify/max_user_watches",
	"/proc/sys/kernel/panic",
	"/proc/sys/kernel/panic_on_oops",
	"/proc/sys/net/ipv4/ip_forward",
	"/proc/sys/vm/overcommit_memory",
}

func readSettings() map[string]string {
	values := map[string]string{}
	for _, setting := range settings {
		if raw, err := os.ReadFile(setting); err == nil {
			values[setting] = strings.TrimSpace(string(raw))
		}
	}
	return values
}

// putBack restores settings, and fails if one had changed.
func putBack(before map[string]string) error {
	var problems []error
	for setting, value := range readSettings() {
		was, known := before[setting]
		if !known || was == value {
			continue
		}
		problems = append(problems, fmt.Errorf("%s was changed from %s to %s; it is put back", setting, was, value))
		if err := os.WriteFile(setting, []byte(was), 0o644); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// programs are what machines need of the host, and the Debian package of each.
var programs = []struct{ name, debian string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins"},
	{"xtables-nft-multi", "iptables"},
	{"conntrack", "conntrack"},
	{"haproxy", "haproxy"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"sysctl", "procps"},
	{"mount", "mount"},
}

// Check says why this host can have no machines, naming everything that is in
// the way.
func Check() error {
	var problems []error
	if os.Geteuid() != 0 {
		problems = append(problems, errors.New("only root can make machines"))
	}
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program.name); err != nil {
			missing = append(missing, program.debian)
		}
	}
	if len(missing) > 0 {
		problems = append(problems, fmt.Errorf("not installed: %s (make e2e-packages)", strings.Join(missing, " ")))
	}
	if _, err := hierarchies(); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("this host can have no machines: %w", errors.Join(problems...))
	}
	return nil
}
