package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/capiam/capiam/pkg/provider/local"
)

const (
	// stopGrace is how long a child may take to end after SIGTERM.
	stopGrace = 5 * time.Second
	// A child that ends is started again after firstBackoff, and after twice
	// as long each time until it has lived for steadyAfter.
	firstBackoff = 200 * time.Millisecond
	mostBackoff  = 10 * time.Second
	steadyAfter  = 30 * time.Second
)

// child is a program that the supervisor keeps running.
type child struct {
	name string
	path string
	args []string
	env  []string
	log  string
	// config is the program's configuration file, if it is to be told from
	// which content the program was started.
	config string

	mu     sync.Mutex
	status local.ComponentStatus
	// end ends the running program, and started is closed when the next one
	// was started.
	end     context.CancelFunc
	started chan struct{}
}

// restart ends the program, and returns when a new one was started.
func (c *child) restart(ctx context.Context) error {
	c.mu.Lock()
	if c.started == nil {
		c.started = make(chan struct{})
	}
	end, started := c.end, c.started
	c.mu.Unlock()
	if end != nil {
		end()
	}
	select {
	case <-started:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("restart %s: %w", c.name, context.Cause(ctx))
	}
}

// run keeps the program running until ctx ends, and returns when it has ended.
func (c *child) run(ctx context.Context, log *slog.Logger) {
	backoff := firstBackoff
	for {
		started := time.Now()
		onceCtx, end := context.WithCancel(ctx)
		c.mu.Lock()
		c.end = end
		c.mu.Unlock()
		err := c.once(onceCtx)
		asked := onceCtx.Err() != nil
		end()
		if ctx.Err() != nil {
			c.set(func(s *local.ComponentStatus) { s.State, s.PID = local.StateStopped, 0 })
			return
		}
		if asked {
			log.Info("component restarted as asked", "component", c.name)
			c.set(func(s *local.ComponentStatus) { s.Restarts++ })
			continue
		}
		if err == nil {
			err = errors.New("ended by itself with status 0")
		}
		if time.Since(started) > steadyAfter {
			backoff = firstBackoff
		}
		log.Error("component ended", "component", c.name, "error", err, "restartIn", backoff)
		c.set(func(s *local.ComponentStatus) {
			s.State, s.PID, s.LastError = local.StateWaiting, 0, err.Error()
			s.Restarts++
		})
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, mostBackoff)
	}
}

// once runs the program to its end.
func (c *child) once(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	// The kernel sends the parent-death signal when the thread that started
	// the child ends, so this goroutine keeps its thread until the child is
	// gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out, err := openLog(c.log)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env = c.env
	cmd.Dir = filepath.Dir(c.log)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = diesWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	sum := ""
	if c.config != "" {
		// Before the program reads it: a file that changes in between then
		// looks newer than what the program has, never older.
		data, err := os.ReadFile(c.config)
		if err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		sum = local.ConfigSum(data)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	c.mu.Lock()
	c.status.State, c.status.PID, c.status.Config = local.StateRunning, cmd.Process.Pid, sum
	if c.started != nil {
		close(c.started)
		c.started = nil
	}
	c.mu.Unlock()
	return cmd.Wait()
}

func (c *child) set(change func(*local.ComponentStatus)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
}

func (c *child) snapshot() local.ComponentStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// mostLog is the size at which a log is set aside when its component starts, as
// <log>.1; an older one is dropped.
const mostLog = 32 << 20

// openLog opens a log file for appending.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > mostLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("set log aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}
