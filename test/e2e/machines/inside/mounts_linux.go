package inside

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one mount within the machine.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// devices are what a machine sees of the host's.
var devices = []string{"full", "kmsg", "null", "random", "tty", "urandom", "zero"}

// hidden are the host's directories that a machine has no business with, and
// those it must begin with empty.
var hidden = []string{"/etc/cni", "/etc/containerd", "/etc/kubernetes", "/home", "/opt/cni", "/root"}

// private are settings of the whole host that kubelet insists on writing. A
// machine gets files in their place that already say what kubelet wants, so the
// host's stay as they are whatever happens.
var private = map[string]string{
	"/proc/sys/kernel/panic":         "10",
	"/proc/sys/kernel/panic_on_oops": "1",
	"/proc/sys/vm/overcommit_memory": "1",
}

// mountAll makes the machine's file systems and makes them its root. Underneath
// is the host's root file system, which has containerd, runc and iptables; what
// is written goes to the machine's directory, and of the host's other mounts
// nothing is seen.
func mountAll(spec Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	sub := func(name string) string { return filepath.Join(spec.Dir, name) }
	for _, name := range []string{"root", "upper", "work", "var", "settings"} {
		if err := os.MkdirAll(sub(name), 0o755); err != nil {
			return err
		}
	}
	root := sub("root")
	options := "lowerdir=/,upperdir=" + sub("upper") + ",workdir=" + sub("work")
	if err := (mount{"overlay", root, "overlay", 0, options}).do(); err != nil {
		return err
	}
	const tight = unix.MS_NOSUID | unix.MS_NODEV
	mounts := []mount{
		{"proc", "/proc", "proc", tight | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", tight | unix.MS_NOEXEC, ""},
		{"tmpfs", "/sys/fs/cgroup", "tmpfs", tight | unix.MS_NOEXEC, "mode=755"},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"},
		{"tmpfs", "/dev/shm", "tmpfs", tight, "mode=1777"},
		{"mqueue", "/dev/mqueue", "mqueue", tight | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", tight, "mode=755"},
		{"tmpfs", "/tmp", "tmpfs", tight, "mode=1777"},
		{sub("var"), "/var", "", unix.MS_BIND, ""},
		{spec.Programs, ProgramDir, "", unix.MS_BIND, ""},
		{spec.Archives, ArchiveDir, "", unix.MS_BIND, ""},
	}
	for _, dir := range hidden {
		mounts = append(mounts, mount{"tmpfs", dir, "tmpfs", tight, "mode=755"})
	}
	for _, controller := range spec.Controllers {
		name := strings.TrimPrefix(controller, "name=")
		mounts = append(mounts, mount{"cgroup", "/sys/fs/cgroup/" + name, "cgroup", tight | unix.MS_NOEXEC, controller})
	}
	for _, m := range mounts {
		m.target = filepath.Join(root, m.target)
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := m.do(); err != nil {
			return err
		}
	}
	for _, name := range devices {
		if err := bindFile("/dev/"+name, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	for setting, value := range private {
		file := filepath.Join(sub("settings"), strings.ReplaceAll(setting, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := (mount{file, filepath.Join(root, setting), "", unix.MS_BIND, ""}).do(); err != nil {
			return err
		}
	}
	if err := links(root); err != nil {
		return err
	}
	if err := pivot(root); err != nil {
		return err
	}
	return populate(spec)
}

func (m mount) do() error {
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

func bindFile(source, target string) error {
	file, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return mount{source, target, "", unix.MS_BIND, ""}.do()
}

func links(root string) error {
	for link, target := range map[string]string{
		"dev/fd": "/proc/self/fd", "dev/stdin": "fd/0", "dev/stdout": "fd/1", "dev/stderr": "fd/2",
		"dev/ptmx": "pts/ptmx", "var/run": "/run", "var/lock": "/run/lock",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// pivot makes root the root directory and lets go of the old one.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root ends up mounted over the new one, and is taken off again.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// kubelet hands mounts to pods and back, as on any node.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// populate writes the files of a freshly installed machine.
func populate(spec Spec) error {
	address, _, _ := strings.Cut(spec.Address, "/")
	files := map[string]string{
		"/etc/hostname": spec.Name + "\n",
		"/etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n" + address + " " + spec.Name + "\n" + spec.Hosts,
		// Nobody listens there, and the answer to that is quick.
		"/etc/resolv.conf":               "nameserver " + spec.Gateway + "\n",
		"/etc/containerd/config.toml":    containerdConfig(spec),
		"/etc/cni/net.d/10-lab.conflist": cniConfig(spec),
	}
	maps.Copy(files, spec.Files)
	for _, dir := range []string{"/var/lib", "/var/log", "/var/tmp", "/run/lock", "/run/cluster-api"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil { // it may be a link
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	// Cluster API's Docker provider tells kubelet to put all pods below this.
	for _, controller := range spec.Controllers {
		dir := "/sys/fs/cgroup/" + strings.TrimPrefix(controller, "name=") + "/kubelet"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func containerdConfig(spec Spec) string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # a machine has neither AppArmor nor the right to lower a score
  disable_apparmor = true
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = %q

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`, spec.PauseImage, baseSpecFile)
}

// cniConfig lets pods reach each other and everything else in the lab: the
// gateway routes each machine's pods to it.
func cniConfig(spec Spec) string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "lab",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, spec.PodCIDR)
}
