package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// specEnv hands the specification to the next stage.
const specEnv = "CAPIAM_E2E_MACHINE"

// Init is the first stage: it waits until its maker has put it into its control
// groups and connected its network, and goes on in a control-group namespace of
// its own, whose root those control groups are.
func Init() error {
	spec, err := readSpec(os.Stdin)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	// A thread's namespaces become the process's when that thread calls execve.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("control-group namespace: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, []string{self, VerbBoot}, []string{specEnv + "=" + string(raw)})
}

// Boot is the second stage: it makes the machine's file systems, network and
// name, and becomes the machine's command, or waits for the supervisor.
func Boot() error {
	spec, err := readSpec(strings.NewReader(os.Getenv(specEnv)))
	if err != nil {
		return err
	}
	unix.CloseOnExec(ReadyFD)
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := mountAll(spec); err != nil {
		return err
	}
	if err := network(spec); err != nil {
		return err
	}
	environment := []string{
		"PATH=" + ProgramDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LANG=C.UTF-8",
		specEnv + "=" + os.Getenv(specEnv),
	}
	if len(spec.Command) > 0 {
		program, err := lookPath(spec.Command[0])
		if err != nil {
			return err
		}
		ready(nil)
		return syscall.Exec(program, spec.Command, environment)
	}
	child := exec.Command(filepath.Join(ProgramDir, "e2e-node"), VerbSupervise)
	child.Env = environment
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{os.NewFile(ReadyFD, "ready")}
	if err := child.Start(); err != nil {
		return err
	}
	_ = unix.Close(ReadyFD) // the supervisor's now
	return reap(child.Process.Pid)
}

func lookPath(name string) (string, error) {
	if err := os.Setenv("PATH", ProgramDir+":/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return "", err
	}
	return exec.LookPath(name)
}

// ready tells the machine's maker that it is up, or why it is not.
func ready(err error) {
	file := os.NewFile(ReadyFD, "ready")
	if err != nil {
		fmt.Fprint(file, err)
	}
	fmt.Fprintln(file)
	_ = file.Close() // nobody may be listening any more
}

// reap waits for orphans, as the first process has to, until main ends.
func reap(main int) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for s := range stop {
			_ = unix.Kill(main, s.(syscall.Signal)) // it may have ended
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for orphans: %w", err)
		case pid == main:
			return fmt.Errorf("the supervisor ended (status %#x)", status)
		}
	}
}

// network gives the machine its addresses. Its only interface, eth0, is there.
func network(spec Spec) error {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", spec.Address, "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"route", "add", "default", "via", spec.Gateway},
	} {
		if out, err := exec.Command("/usr/sbin/ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
