// Command capi-management keeps a Cluster API management cluster with in-memory
// infrastructure on this machine while somebody develops against it. It needs
// no root and no container.
//
//	capi-management up   --dir DIR
//	capi-management exec --dir DIR [--] COMMAND...
//	capi-management down --dir DIR
//
// The cluster lives in a network namespace of its own, because Cluster API's
// webhooks listen on all addresses: exec runs a command in there, with
// KUBECONFIG set. down ends everything and removes the directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/capiam/capiam/test/clusterapi/management"
	"github.com/capiam/capiam/test/isolate"
)

const usage = `usage:
  capi-management up   --dir DIR                   start a management cluster, and leave it running
  capi-management exec --dir DIR [--] COMMAND...   run a command that can reach it
  capi-management down --dir DIR                   end it and remove the directory
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "capi-management:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	if len(args) == 0 {
		return 0, errors.New("want a command\n" + usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	dirFlag := flags.String("dir", "", "the management cluster's directory")
	if err := flags.Parse(args[1:]); err != nil {
		return 0, err
	}
	if *dirFlag == "" {
		return 0, errors.New("want --dir DIR")
	}
	dir, err := filepath.Abs(*dirFlag)
	if err != nil {
		return 0, err
	}
	switch args[0] {
	case "up":
		return 0, up(ctx, dir)
	case "exec":
		return 0, enter(dir, flags.Args())
	case "down":
		return 0, down(ctx, dir)
	case "serve": // what up leaves running
		code, isolated, why := isolate.Run()
		if isolated {
			return code, nil
		}
		if !isolate.Inside() {
			return 0, fmt.Errorf("cannot make a network namespace: %s", why)
		}
		return 0, serve(ctx, dir)
	default:
		return 0, fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

// programs is the directory of the programs, which is this one's.
func programs() (string, error) {
	self, err := os.Executable()
	return filepath.Dir(self), err
}

// serve runs a management cluster until it is told to end.
func serve(ctx context.Context, dir string) error {
	bin, err := programs()
	if err != nil {
		return err
	}
	m, err := management.Start(ctx, management.Options{Dir: dir, Bin: bin, Infrastructure: management.InMemory(bin)})
	if err != nil {
		return err
	}
	defer m.Stop()
	control, err := listen(dir)
	if err != nil {
		return err
	}
	defer control.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		control.waitStop()
		stop()
	}()
	<-ctx.Done()
	return nil
}

// up starts serve in the background, and returns when the cluster is ready.
func up(ctx context.Context, dir string) error {
	if running(dir) {
		return say(dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "management.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	started := time.Now()
	cmd := exec.Command(self, "serve", "--dir", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if running(dir) {
			fmt.Fprintf(os.Stderr, "ready after %s\n", time.Since(started).Round(100*time.Millisecond))
			return say(dir)
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(path)
			return fmt.Errorf("the management cluster has not come up: %w\n%s", err, said)
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			return errors.Join(context.Cause(ctx), <-ended)
		case <-ticker.C:
		}
	}
}

func say(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("KUBECONFIG=%s\n", management.KubeconfigFile(dir))
	fmt.Fprintf(os.Stderr, "only reachable from its own network namespace:\n  %s exec --dir %s kubectl get clusters -A\n", self, dir)
	return nil
}

// down ends the management cluster and removes its directory.
func down(ctx context.Context, dir string) error {
	if conn, err := dial(dir); err == nil {
		defer conn.Close()
		if err := askStop(ctx, conn); err != nil {
			return err
		}
	}
	return management.Remove(ctx, dir)
}

// enter becomes a command in the cluster's network namespace.
func enter(dir string, command []string) error {
	if len(command) == 0 {
		return errors.New("want a command to run")
	}
	conn, err := dial(dir)
	if err != nil {
		return fmt.Errorf("%s has no running management cluster: %w", dir, err)
	}
	defer conn.Close()
	pid, err := peer(conn)
	if err != nil {
		return err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("%w (it is part of util-linux)", err)
	}
	args := []string{"nsenter", fmt.Sprintf("--target=%d", pid), "--net"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--preserve-credentials")
	}
	bin, err := programs()
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	if err := os.Setenv("KUBECONFIG", management.KubeconfigFile(dir)); err != nil {
		return err
	}
	return syscall.Exec(nsenter, append(append(args, "--"), command...), os.Environ())
}
