// Command e2e keeps an end-to-end environment on this machine while somebody
// develops against it: a Cluster API management cluster whose Docker provider
// makes real Kubernetes nodes, and a simulated STS. It needs root, and what
// `make e2e-packages e2e-build` provides.
//
//	e2e up                            leave an environment standing
//	e2e exec [--] COMMAND...          run a command that can reach it
//	e2e node NAME [--] COMMAND...     run a command on a machine
//	e2e import FILE                   load an archive of images into all machines
//	e2e down                          remove every trace of it
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/test/clusterapi/management"
	"github.com/capiam/capiam/test/e2e/environment"
	"github.com/capiam/capiam/test/e2e/machines"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// command is what every verb needs.
type command struct {
	environment.Options
	args []string
}

func run(ctx context.Context, args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("want a verb: up, exec, node, import or down")
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var c command
	flags.StringVar(&c.Dir, "dir", machines.DefaultDir, "the lab's directory")
	flags.StringVar(&c.Bin, "bin", filepath.Dir(filepath.Dir(self)), "the directory with capiam")
	if err := flags.Parse(args[1:]); err != nil {
		return 0, err
	}
	c.args = flags.Args()
	switch args[0] {
	case "up":
		return 0, c.up(ctx, self)
	case "serve": // what up leaves running
		return environment.Main(c.Options, os.Stderr, func() int {
			if err := c.serve(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
				return 1
			}
			return 0
		}), nil
	case "exec":
		return 0, c.exec()
	case "node":
		return 0, c.node(ctx)
	case "import":
		return 0, c.load(ctx)
	case "down":
		return 0, c.down(ctx)
	default:
		return 0, fmt.Errorf("unknown verb %q", args[0])
	}
}

// readyFile holds the environment variables for programs, once all is up.
func (c command) readyFile() string { return filepath.Join(c.Dir, "x-ready") }

// pidFile names the process that up leaves running. It is not in the lab, which
// that process makes and removes.
func (c command) pidFile() string { return filepath.Clean(c.Dir) + ".pid" }

// up starts serve in the background, and returns when everything is ready.
func (c command) up(ctx context.Context, self string) error {
	if err := machines.Check(); err != nil {
		return err
	}
	if _, err := os.Stat(c.readyFile()); err == nil {
		return c.say(self)
	}
	log, err := os.CreateTemp("", "capiam-e2e-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(log.Close(), os.Remove(log.Name())) }()
	started := time.Now()
	cmd := exec.Command(self, "serve", "--dir", c.Dir, "--bin", c.Bin)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := atomicfile.Write(c.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(c.readyFile()); err == nil {
			fmt.Fprintf(os.Stderr, "ready after %s\n", time.Since(started).Round(100*time.Millisecond))
			return c.say(self)
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the environment has not come up: %w\n%s", err, said)
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-ended //nolint:errcheck // of the signal
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// People are the identities whose profiles an environment has at once.
var people = map[string]string{
	"admin":     "arn:aws:iam::" + environment.Account + ":role/platform-admin",
	"developer": "arn:aws:iam::" + environment.Account + ":user/developer",
	"stranger":  "arn:aws:iam::" + environment.Account + ":user/stranger",
}

// serve runs an environment until it is told to end.
func (c command) serve(ctx context.Context) error {
	e, err := environment.Start(ctx, c.Options)
	if err != nil {
		return err
	}
	defer e.Stop()
	for profile, arn := range people {
		if err := e.STS.Profile(profile, arn); err != nil {
			return err
		}
	}
	variables := append(e.Env(), "KUBECONFIG="+e.Management.Kubeconfig)
	if _, err := atomicfile.Write(c.readyFile(), []byte(strings.Join(variables, "\n")), 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (c command) say(self string) error {
	lab, err := machines.Open(c.Dir)
	if err != nil {
		return err
	}
	kubeconfig := management.KubeconfigFile(environment.ManagementDir(c.Dir))
	fmt.Printf("KUBECONFIG=%s\n", kubeconfig)
	fmt.Fprintf(os.Stderr, `only reachable from the lab's own network:
  %[1]s exec kubectl get clusters -A        (KUBECONFIG and AWS variables are set)
  %[1]s exec capiam create cluster -f FILE --kubeconfig %[2]s
  %[1]s node NAME crictl ps
  nsenter --net=%[3]s COMMAND
profiles of the simulated AWS: admin, developer, stranger
`, self, kubeconfig, lab.NetworkNamespace())
	return nil
}

// exec becomes a command in the lab's network.
func (c command) exec() error {
	if len(c.args) == 0 {
		return errors.New("want a command to run")
	}
	lab, err := machines.Open(c.Dir)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(c.readyFile())
	if err != nil {
		return fmt.Errorf("the environment is not ready: %w", err)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(raw) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return syscall.Exec(nsenter, append([]string{"nsenter", "--net=" + lab.NetworkNamespace(), "--"}, c.args...), os.Environ())
}

// node runs a command on a machine.
func (c command) node(ctx context.Context) error {
	if len(c.args) < 2 {
		return errors.New("want a machine and a command")
	}
	lab, err := machines.Open(c.Dir)
	if err != nil {
		return err
	}
	machine, err := lab.Get(c.args[0])
	if err != nil {
		return err
	}
	rest := c.args[1:]
	if rest[0] == "--" && len(rest) > 1 {
		rest = rest[1:]
	}
	return machine.Exec(ctx, machines.Exec{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, rest[0], rest[1:]...)
}

func (c command) load(ctx context.Context) error {
	if len(c.args) != 1 {
		return errors.New("want one archive")
	}
	lab, err := machines.Open(c.Dir)
	if err != nil {
		return err
	}
	return lab.Import(ctx, c.args[0])
}

// down ends the process that up left, which takes its lab along; and if there
// was none, or it was killed, takes away what there is.
func (c command) down(ctx context.Context) error {
	if raw, err := os.ReadFile(c.pidFile()); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil && serves(pid) {
			if err := end(ctx, pid); err != nil {
				return err
			}
		}
		if err := os.Remove(c.pidFile()); err != nil {
			return err
		}
	}
	lab, err := machines.Open(c.Dir)
	if errors.Is(err, machines.ErrNoLab) {
		return nil
	}
	if err != nil {
		return err
	}
	return lab.Down(ctx)
}

// serves tells whether a process is one that up left running: its number may
// have come to somebody else.
func serves(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := bytes.Split(raw, []byte{0})
	return err == nil && len(words) > 1 && filepath.Base(string(words[0])) == "e2e" && string(words[1]) == "serve"
}

func end(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for serves(pid) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
	return nil
}
