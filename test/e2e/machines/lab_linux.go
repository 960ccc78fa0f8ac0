// Package machines makes machines out of Linux namespaces: each has its own
// processes, mounts, host name, control groups and network, containerd and a
// stand-in for systemd, so that kubeadm turns it into a real Kubernetes node. It
// is what the end-to-end tests have in Docker's place.
//
// Machines live in a lab: a directory with their disks, and a network of their
// own that nothing else is connected to. A lab outlives the process that opened
// it, so a test, Cluster API's controllers and `make e2e-down` share one.
//
// It needs root, and what Package lists. Nothing of the host is changed: its
// network has no part in it, and its file systems are seen read-only underneath.
package machines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// DefaultDir is where a lab is unless told otherwise. Control sockets and
// control groups have their names from it, so there is one at a time.
const DefaultDir = "/var/lib/capiam-e2e"

// The lab's network. It exists in a namespace of its own, so the addresses need
// only be none that clusters use inside.
const (
	// Gateway is the lab's own address: whatever serves the machines, a
	// simulated STS say, listens there.
	Gateway = "172.30.0.1"

	network      = "172.30.0.0/24"
	prefix       = "172.30.0."
	prefixLength = "/24"
	podPrefix    = "10.213."
	firstHost    = 10
	lastHost     = 250
)

// cgroupParent is the control group that holds all machines, in each hierarchy.
const cgroupParent = "capiam-e2e"

// ErrNoLab says that there is no lab in the directory.
var ErrNoLab = errors.New("no lab is up")

// Lab is a place with machines.
type Lab struct {
	dir    string
	record record
}

// record is what a lab keeps about itself.
type record struct {
	// Programs is the directory of what machines run, besides the host's.
	Programs string `json:"programs"`
	// PauseImage is containerd's sandbox image.
	PauseImage string `json:"pauseImage"`
	// Settings are the host's settings as they were before.
	Settings map[string]string `json:"settings"`
}

// Options say what a new lab is made of.
type Options struct {
	// Programs is the directory with e2e-node, kubeadm, kubelet and so on.
	Programs string
	// PauseImage is the image that every pod's sandbox runs.
	PauseImage string
}

// Up makes a lab in a directory that must not have one.
func Up(ctx context.Context, dir string, o Options) (*Lab, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	programs, err := filepath.Abs(o.Programs)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(programs, "e2e-node")); err != nil {
		return nil, fmt.Errorf("the machines' programs are not built: %w (make e2e-build)", err)
	}
	lab := &Lab{dir: dir, record: record{Programs: programs, PauseImage: o.PauseImage, Settings: readSettings()}}
	if _, err := os.Stat(lab.path("lab.json")); err == nil {
		return nil, fmt.Errorf("a lab is already up in %s (make e2e-down)", dir)
	}
	for _, sub := range []string{"machines", "images"} {
		if err := os.MkdirAll(lab.path(sub), 0o700); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(lab.record)
	if err != nil {
		return nil, err
	}
	if _, err := atomicfile.Write(lab.path("lab.json"), raw, 0o600); err != nil {
		return nil, err
	}
	if err := lab.makeNetwork(ctx); err != nil {
		return nil, errors.Join(err, lab.Down(context.WithoutCancel(ctx)))
	}
	return lab, nil
}

// Open finds the lab in a directory; ErrNoLab if there is none.
func Open(dir string) (*Lab, error) {
	lab := &Lab{dir: dir}
	raw, err := os.ReadFile(lab.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoLab)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &lab.record); err != nil {
		return nil, fmt.Errorf("%s: %w", lab.path("lab.json"), err)
	}
	return lab, nil
}

func (l *Lab) path(elements ...string) string {
	return filepath.Join(append([]string{l.dir}, elements...)...)
}

// Dir is the lab's directory. Others may keep things below it, under names that
// begin with "x-"; they go with the lab.
func (l *Lab) Dir() string { return l.dir }

// NetworkNamespace is the file of the lab's network: what runs under
// `nsenter --net=FILE` reaches the machines, and nothing else.
func (l *Lab) NetworkNamespace() string { return l.path("net") }

// Command is a command in the lab's network.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + l.NetworkNamespace(), name}, args...)...)
}

func (l *Lab) run(ctx context.Context, name string, args ...string) error {
	if out, err := l.Command(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// makeNetwork makes the namespace with a bridge that all machines are on.
func (l *Lab) makeNetwork(ctx context.Context) error {
	file, err := os.OpenFile(l.NetworkNamespace(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "unshare", "--net="+l.NetworkNamespace(), "true").CombinedOutput(); err != nil {
		return fmt.Errorf("network namespace: %w: %s", err, out)
	}
	for _, command := range []string{
		"ip link set lo up",
		"ip link add lab type bridge",
		"ip address add " + Gateway + prefixLength + " dev lab",
		"ip link set lab up",
		// Pods reach those of other machines through here.
		"sysctl -q -w net.ipv4.ip_forward=1",
	} {
		words := strings.Fields(command)
		if err := l.run(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// SetHosts gives every machine that starts from now on further lines of
// /etc/hosts, which pods in the machine's network see as well.
func (l *Lab) SetHosts(lines string) error {
	_, err := atomicfile.Write(l.path("hosts"), []byte(lines), 0o644)
	return err
}

// SetTrust gives every machine that starts from now on certificate authorities
// in PEM, which all containers on it trust in place of their images' own.
func (l *Lab) SetTrust(pem []byte) error {
	_, err := atomicfile.Write(l.path("trust.pem"), pem, 0o644)
	return err
}

// optional reads one of the lab's files that may not be there.
func (l *Lab) optional(name string) (string, error) {
	raw, err := os.ReadFile(l.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(raw), err
}

// Down ends all machines, and all else that runs in the lab's network, and
// removes every trace of the lab. It says so if a
// setting of the host is not what it was before, and puts it back.
func (l *Lab) Down(ctx context.Context) error {
	var problems []error
	if err := l.endProcesses(); err != nil {
		problems = append(problems, err)
	}
	machines, err := l.List()
	if err != nil {
		problems = append(problems, err)
	}
	for _, machine := range machines {
		if err := l.Remove(ctx, machine.Name); err != nil {
			problems = append(problems, err)
		}
	}
	if err := removeCgroups(""); err != nil {
		problems = append(problems, err)
	}
	if err := unix.Unmount(l.NetworkNamespace(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		problems = append(problems, fmt.Errorf("network namespace: %w", err))
	}
	if err := putBack(l.record.Settings); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return os.RemoveAll(l.dir)
}

// endProcesses ends what runs in the lab's network, the management cluster of a
// test that was killed say.
func (l *Lab) endProcesses() error {
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		deadline := time.Now().Add(10 * time.Second)
		for {
			pids, err := l.processes()
			if err != nil || len(pids) == 0 {
				return err
			}
			if time.Now().After(deadline) {
				break
			}
			for _, pid := range pids {
				_ = unix.Kill(pid, signal) // it may have ended
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return fmt.Errorf("processes in %s do not end", l.NetworkNamespace())
}

func (l *Lab) processes() ([]int, error) {
	var own unix.Stat_t
	if err := unix.Stat(l.NetworkNamespace(), &own); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var theirs unix.Stat_t
		err = unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &theirs)
		if err == nil && theirs.Ino == own.Ino && theirs.Dev == own.Dev {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
