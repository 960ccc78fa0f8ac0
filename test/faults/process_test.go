package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a program under test.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	err    error // why it ended, once exited is closed
}

// start starts a program. It is stopped at the end of the test, and shows the
// end of its log if that has failed.
func start(t *testing.T, logFile string, env []string, program string, args ...string) *process {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(logFile), 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{t: t, name: filepath.Base(program), log: logFile, exited: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.cmd.SysProcAttr = diesWithTest()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.end)
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// running tells whether the process has not ended by itself.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop ends the process as an init system would, and fails the test if it does
// not end well.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if p.err != nil {
			p.t.Errorf("%s: %v", p.name, p.err)
		}
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
		p.t.Errorf("%s had to be killed", p.name)
	}
}

func (p *process) end() {
	p.t.Helper()
	if p.running() {
		p.stop()
	}
	if !p.t.Failed() {
		return
	}
	const most = 2 << 10
	log, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Log(err)
	}
	p.t.Logf("the end of %s:\n%s", filepath.Base(p.log), log[max(0, len(log)-most):])
}
