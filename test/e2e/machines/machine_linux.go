package machines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/test/e2e/machines/inside"
)

// ErrNoMachine says that there is no machine of that name.
var ErrNoMachine = errors.New("no such machine")

// startTimeout is how long a machine may take until containerd answers.
const startTimeout = 2 * time.Minute

// Spec says what machine to make.
type Spec struct {
	// Name is its host name too, so at most 63 letters.
	Name string
	// Image and Labels are remembered, and mean nothing here.
	Image  string
	Labels map[string]string
	// Command runs as the machine's first process; without it, it becomes a
	// machine on which kubeadm can make a Kubernetes node.
	Command []string
	// Files are written before it starts: paths and what is in them.
	Files map[string]string
}

// Machine is one that was made. It may have ended since.
type Machine struct {
	Name    string            `json:"name"`
	Image   string            `json:"image"`
	Labels  map[string]string `json:"labels"`
	Address string            `json:"address"`
	// PodCIDR is where its pods' addresses are from.
	PodCIDR string `json:"podCIDR"`

	// Index is the last part of the address.
	Index int `json:"index"`
	// PID is the first process, and Started the kernel's time of its start, which
	// together name one process for good.
	PID     int    `json:"pid"`
	Started uint64 `json:"started"`

	dir string
	lab *Lab
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// Run makes a machine and waits until it is up.
func (l *Lab) Run(ctx context.Context, spec Spec) (*Machine, error) {
	if !validName.MatchString(spec.Name) {
		return nil, fmt.Errorf("machine %q: not a host name", spec.Name)
	}
	machine, err := l.claim(spec)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", spec.Name, err)
	}
	if err := l.boot(ctx, machine, spec); err != nil {
		log, _ := machine.Log() // it may not have come to one
		err = fmt.Errorf("machine %s: %w\n%s", spec.Name, err, tail(log, 20))
		return nil, errors.Join(err, l.Remove(context.WithoutCancel(ctx), spec.Name))
	}
	return machine, nil
}

func tail(text []byte, lines int) []byte {
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}

// claim takes a name and an address. Addresses are used in turn, so that none
// comes back while something still remembers who had it.
func (l *Lab) claim(spec Spec) (*Machine, error) {
	unlock, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := l.List()
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, other := range all {
		taken[other.Index] = true
	}
	last := firstHost - 1
	if raw, err := os.ReadFile(l.path("last")); err == nil {
		if last, err = strconv.Atoi(strings.TrimSpace(string(raw))); err != nil {
			return nil, fmt.Errorf("%s: %w", l.path("last"), err)
		}
	}
	index := last
	for {
		if index++; index > lastHost {
			index = firstHost
		}
		if !taken[index] {
			break
		}
		if index == last {
			return nil, errors.New("no address is left")
		}
	}
	machine := &Machine{
		Name: spec.Name, Image: spec.Image, Labels: spec.Labels,
		Index: index, Address: prefix + strconv.Itoa(index), PodCIDR: podPrefix + strconv.Itoa(index) + ".0/24",
		dir: l.path("machines", spec.Name), lab: l,
	}
	if err := os.Mkdir(machine.dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := atomicfile.Write(l.path("last"), []byte(strconv.Itoa(index)), 0o600); err != nil {
		return nil, err
	}
	return machine, machine.save()
}

func (l *Lab) lock() (unlock func(), err error) {
	file, err := os.OpenFile(l.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}

func (m *Machine) save() error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(filepath.Join(m.dir, "machine.json"), raw, 0o600)
	return err
}

// boot starts the machine's first process, connects it, and waits for it.
func (l *Lab) boot(ctx context.Context, machine *Machine, spec Spec) error {
	if len(spec.Command) == 0 {
		if err := l.supply(ctx, machine); err != nil {
			return err
		}
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	hosts, err := l.optional("hosts")
	if err != nil {
		return err
	}
	trust, err := l.optional("trust.pem")
	if err != nil {
		return err
	}
	what := inside.Spec{
		Name: machine.Name, Dir: machine.dir, Programs: l.record.Programs,
		Archives: l.path("images"), Address: machine.Address + prefixLength, Gateway: Gateway,
		PodCIDR: machine.PodCIDR, Hosts: hosts, Trust: trust, PauseImage: l.record.PauseImage, Command: spec.Command, Files: spec.Files,
	}
	for _, h := range all {
		what.Controllers = append(what.Controllers, h.controllers)
	}
	raw, err := json.Marshal(what)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(machine.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	// Not tied to ctx: the machine is to outlive this process.
	cmd := exec.Command(filepath.Join(l.record.Programs, "e2e-node"), inside.VerbInit)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return errors.Join(err, writer.Close())
	}
	err = cmd.Start()
	if closeErr := writer.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // how it ended is in its log
	machine.PID = cmd.Process.Pid
	if machine.Started, err = startTime(machine.PID); err != nil {
		return err
	}
	if err := machine.save(); err != nil {
		return err
	}
	if err := joinCgroups(machine.Name, machine.PID); err != nil {
		return err
	}
	if err := l.connect(ctx, machine); err != nil {
		return err
	}
	if _, err := stdin.Write(raw); err != nil {
		return err
	}
	if err := stdin.Close(); err != nil {
		return err
	}
	return awaitReady(ctx, reader)
}

// connect gives a machine its interface, whose other end is on the lab's bridge,
// and leads its pods' addresses to it. The pair is made between the two
// namespaces; the host's network never sees it.
func (l *Lab) connect(ctx context.Context, machine *Machine) error {
	link := "m" + strconv.Itoa(machine.Index)
	for _, command := range []string{
		"ip link add " + link + " type veth peer name eth0 netns " + strconv.Itoa(machine.PID),
		"ip link set " + link + " master lab up",
		"ip route replace " + machine.PodCIDR + " via " + machine.Address,
	} {
		words := strings.Fields(command)
		if err := l.run(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// awaitReady reads what a machine says of its start: an empty line is good.
func awaitReady(ctx context.Context, reader *os.File) error {
	deadline := time.Now().Add(startTimeout)
	if d, limited := ctx.Deadline(); limited && d.Before(deadline) {
		deadline = d
	}
	if err := reader.SetReadDeadline(deadline); err != nil {
		return err
	}
	said, err := io.ReadAll(reader)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("it did not come up in time")
	case err != nil:
		return err
	case len(said) == 0:
		return errors.New("it ended before it was up")
	}
	if text := strings.TrimSpace(string(said)); text != "" {
		return errors.New(text)
	}
	return nil
}

// startTime reads when a process started, in the kernel's ticks since boot.
func startTime(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may contain anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// List returns all machines, by name.
func (l *Lab) List() ([]*Machine, error) {
	entries, err := os.ReadDir(l.path("machines"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Machine
	for _, entry := range entries {
		machine, err := l.Get(entry.Name())
		if errors.Is(err, ErrNoMachine) {
			continue // being made or removed
		}
		if err != nil {
			return nil, err
		}
		all = append(all, machine)
	}
	slices.SortFunc(all, func(a, b *Machine) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Get finds a machine; ErrNoMachine if there is none.
func (l *Lab) Get(name string) (*Machine, error) {
	machine := &Machine{dir: l.path("machines", name), lab: l}
	raw, err := os.ReadFile(filepath.Join(machine.dir, "machine.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("machine %s: %w", name, ErrNoMachine)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, machine); err != nil {
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	return machine, nil
}

// Running tells whether the machine's first process lives.
func (m *Machine) Running() bool {
	if m.PID == 0 {
		return false
	}
	started, err := startTime(m.PID)
	return err == nil && started == m.Started
}

// Disk is where the host sees a file of the machine's /var, its logs say.
func (m *Machine) Disk(path string) string {
	return filepath.Join(m.dir, "var", strings.TrimPrefix(path, "/var/"))
}

// Log is what the machine's first process and its supervisor have said.
func (m *Machine) Log() ([]byte, error) { return os.ReadFile(filepath.Join(m.dir, "log")) }

// Exec says how a command runs in a machine.
type Exec struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            []string
}

// Exec runs a command in a machine and waits for it. An error carries the exit
// status, as *exec.ExitError.
func (m *Machine) Exec(ctx context.Context, e Exec, command string, args ...string) error {
	cmd, err := m.command(ctx, e.Env, command, args...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("machine %s: %s: %w", m.Name, command, err)
	}
	return nil
}

// Output runs a command in a machine and returns what it wrote; if it fails, its
// errors are in the error.
func (m *Machine) Output(ctx context.Context, command string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	if err := m.Exec(ctx, Exec{Stdout: &stdout, Stderr: &stderr}, command, args...); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, tail(stderr.Bytes(), 10))
	}
	return stdout.String(), nil
}

func (m *Machine) command(ctx context.Context, env []string, command string, args ...string) (*exec.Cmd, error) {
	if !m.Running() {
		return nil, fmt.Errorf("machine %s is not running", m.Name)
	}
	enter := []string{
		"--target=" + strconv.Itoa(m.PID), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
		"/usr/bin/env", "-i", "PATH=" + inside.ProgramDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LANG=C.UTF-8",
	}
	enter = append(append(append(enter, env...), command), args...)
	cmd := exec.CommandContext(ctx, "nsenter", enter...)
	// nsenter forks, so what has to end is the group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}

// Signal sends the machine's first process a signal.
func (m *Machine) Signal(signal syscall.Signal) error {
	if !m.Running() {
		return fmt.Errorf("machine %s is not running", m.Name)
	}
	return unix.Kill(m.PID, signal)
}

// Kill ends a machine at once, as a power cut would. It stays ended.
func (m *Machine) Kill() error { return m.Signal(unix.SIGKILL) }

// Remove ends a machine and removes its disk. One that is not there is fine.
func (l *Lab) Remove(ctx context.Context, name string) error {
	machine, err := l.Get(name)
	if errors.Is(err, ErrNoMachine) {
		return os.RemoveAll(l.path("machines", name))
	}
	if err != nil {
		return err
	}
	if machine.Running() {
		// The kernel ends everything else in its namespaces.
		if err := machine.Kill(); err != nil && machine.Running() {
			return err
		}
	}
	if err := removeCgroups(name); err != nil {
		return fmt.Errorf("machine %s: %w", name, err)
	}
	// The namespace takes its end of the pair along, and with it this one, but
	// not before the kernel gets around to it.
	_ = l.run(ctx, "ip", "link", "delete", "m"+strconv.Itoa(machine.Index))
	_ = l.run(ctx, "ip", "route", "delete", machine.PodCIDR)
	if err := os.RemoveAll(machine.dir); err != nil {
		return fmt.Errorf("machine %s: %w", name, err)
	}
	return nil
}

// Import loads an archive of images, as `docker save` writes it, into every
// machine there is and, under the archive's name, every one to come.
func (l *Lab) Import(ctx context.Context, archive string) error {
	name := filepath.Base(archive)
	if err := linkOrCopy(archive, l.path("images", name)); err != nil {
		return err
	}
	all, err := l.List()
	if err != nil {
		return err
	}
	for _, machine := range all {
		if !machine.Running() || !machine.isNode() {
			continue
		}
		if _, err := machine.Output(ctx, "e2e-node", inside.VerbImport, filepath.Join(inside.ArchiveDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// Prepare imports what archives there are once and for all: machines that start
// from now on share what containerd made of them, on the disk and in memory.
func (l *Lab) Prepare(ctx context.Context) (err error) {
	const name = "prepare"
	machine, err := l.Run(ctx, Spec{Name: name})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Remove(context.WithoutCancel(ctx), name)) }()
	if _, err := machine.Output(ctx, "systemctl", "stop", "containerd"); err != nil {
		return err
	}
	if err := os.Rename(machine.Disk("/var/lib/containerd"), l.path("store")); err != nil {
		return err
	}
	archives, err := filepath.Glob(l.path("images", "*"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	return nil
}

// supply gives a machine its copy of what Prepare made. Blobs and layers are hard
// links, as containerd never changes one; the databases are copies.
func (l *Lab) supply(ctx context.Context, machine *Machine) error {
	store := l.path("store")
	if _, err := os.Stat(store); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	target := machine.Disk("/var/lib/containerd")
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "--archive", "--link", store, target).CombinedOutput(); err != nil {
		return fmt.Errorf("link the prepared images: %w: %s", err, out)
	}
	return filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".db" {
			return err
		}
		inner, err := filepath.Rel(store, path)
		if err != nil {
			return err
		}
		return copyFile(path, filepath.Join(target, inner))
	})
}

// isNode tells a machine for Kubernetes from one that runs a command.
func (m *Machine) isNode() bool {
	_, err := os.Stat(m.Disk("/var/lib/containerd"))
	return err == nil
}

func linkOrCopy(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

// copyFile puts a copy in a file's place, whatever that is a link to.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	temp := to + ".part"
	target, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		return err
	}
	return os.Rename(temp, to)
}
