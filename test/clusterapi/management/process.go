package management

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a program may take to end after SIGTERM before it is
// killed. controller-runtime gives its own parts 30 seconds.
const stopGrace = 35 * time.Second

// process is a program that runs until it is stopped.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	// ended is closed when the program has ended, and err says how.
	ended chan struct{}
	err   error
}

// startProcess starts a program whose output goes to a log file. The kernel
// kills it if this process is killed.
func startProcess(name, log string, env, command []string) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: log, ended: make(chan struct{})}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env, p.cmd.Dir = env, filepath.Dir(log)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = diesWithParent()
	started := make(chan error)
	go func() {
		defer out.Close()
		// The parent whose death counts is the thread that started the program.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// failure is why the program ended, nil while it runs. The end of its log is
// part of it.
func (p *process) failure() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s has ended by itself: %w\n%s", p.name, err, tail(p.log, 4<<10))
}

// stop ends the program, and returns when it has ended.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// tail returns the end of a file, or why it cannot be read.
func tail(path string, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	data := make([]byte, min(most, info.Size()))
	n, err := f.ReadAt(data, info.Size()-int64(len(data)))
	if n == 0 && err != nil {
		return err.Error()
	}
	return fmt.Sprintf("the end of %s:\n%s", filepath.Base(path), data[:n])
}

// A line of a log that klog writes for an error, or that Go writes for a panic.
var complaint = regexp.MustCompile(`^(?:[EF]\d{4} |panic: )`)

// complaints returns the last lines of a log that complain, or why it cannot be
// read.
func complaints(path string) string {
	const most, longest = 15, 600
	f, err := os.Open(path)
	if err != nil {
		return err.Error() + "\n"
	}
	defer f.Close()
	var found []string
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if complaint.MatchString(line) {
			found = append(found, strings.TrimSuffix(line[:min(len(line), longest)], "\n")+"\n")
			found = found[max(0, len(found)-most):]
		}
		if err != nil {
			return strings.Join(found, "")
		}
	}
}
