package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// cannotIsolate is the exit status of a copy that could not set its namespace
// up, and has run no test.
const cannotIsolate = 70

// Run runs this program again, with the same arguments, in a copy whose network
// has only loopback, and whose mounts are its own. It returns the copy's exit
// status, or why there is none. In the copy itself it only switches loopback on.
func Run() (code int, isolated bool, why string) {
	if Inside() {
		if err := loopbackUp(); err != nil {
			fmt.Printf("not isolated: switch loopback on: %v\n", err)
			os.Exit(cannotIsolate)
		}
		fmt.Println("isolated: in a network namespace with only loopback")
		return 0, false, ""
	}
	// The kernel kills the copy when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = namespaces()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, false, fmt.Sprintf("the kernel gives no namespace: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have ended
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				fmt.Printf("run the tests in a namespace: %v\n", err)
				return 1, true, ""
			}
			if code := cmd.ProcessState.ExitCode(); code != cannotIsolate {
				// A copy that a signal killed has no exit status.
				return max(code, 0) | boolBit(code < 0), true, ""
			}
			return 0, false, ""
		}
	}
}

func boolBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// namespaces asks for a network and a mount namespace. Whoever is not root
// needs a user namespace for that, in which they stay who they are.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Unsharing makes the mounts private, too.
		Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
	}
	if os.Geteuid() == 0 {
		return attr
	}
	attr.Unshareflags = 0
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	// For loopback, and for the small file system of one test.
	attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}
	return attr
}

// loopbackUp does what `ip link set lo up` does.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // it was only asked with
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
