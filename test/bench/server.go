package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Who is measured. The names are those in the tables.
const (
	ours   = "capiam"
	cached = "capiam, cached"
	peer   = "aws-iam-authenticator"
)

// server is a running authenticator, ours or the original.
type server struct {
	kind string
	cmd  *exec.Cmd
	addr string
	dir  string
	// started is when its process was.
	started time.Time
}

// start starts a server with a configuration, as a DaemonSet would: both take
// the same flags. Ours has a health port of its own, since the original's cannot
// be moved.
func (b *bench) start(ctx context.Context, w *world, kind, proxy, configFile string) (*server, error) {
	dir, err := os.MkdirTemp(w.dir, "server-")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"cert.pem", "key.pem"} {
		data, err := os.ReadFile(w.path(name))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	a := &server{kind: kind, dir: dir, addr: "127.0.0.1:" + port}
	program := "capiam-authenticator"
	args := []string{"server", "--config", configFile, "--backend-mode=MountedFile", "--state-dir=" + dir, "--port=" + port, "--kubeconfig-pregenerated=true"}
	switch kind {
	case peer:
		program = "aws-iam-authenticator"
	case ours:
		args = append(args, "--health-port=0", "--token-cache-ttl=0s")
	case cached:
		args = append(args, "--health-port=0")
	}
	a.cmd = exec.CommandContext(ctx, filepath.Join(b.bin, program), args...)
	a.cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://"+proxy, "SSL_CERT_FILE="+w.path("ca.pem"), "AWS_EC2_METADATA_DISABLED=true")
	// Both log one or two lines for each login, to a file.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.started = time.Now()
	return a, a.cmd.Start()
}

// stop ends a server. The original does not stop at SIGTERM.
func (a *server) stop() error {
	stop := syscall.SIGTERM
	if a.kind == peer {
		stop = syscall.SIGKILL
	}
	err := a.cmd.Process.Signal(stop)
	wait := a.cmd.Wait()
	if a.kind != peer && wait != nil {
		log, _ := os.ReadFile(filepath.Join(a.dir, "log"))
		err = errors.Join(err, fmt.Errorf("%s: %w\n%s", a.kind, wait, lastLines(log)))
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}

// waitReady waits until a login works and returns how long after the start of
// the process that was.
func (a *server) waitReady(ctx context.Context, l *load) (time.Duration, error) {
	var err error
	for ctx.Err() == nil && time.Since(a.started) < 30*time.Second {
		if err = l.once(ctx, a.addr); err == nil {
			return time.Since(a.started), nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(a.dir, "log"))
	return 0, fmt.Errorf("%s does not become ready: %w\n%s", a.kind, err, lastLines(log))
}

// memory returns how much of the process is in memory, in MiB.
func (a *server) memory() (float64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc says nothing of the memory")
}

func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}

func lastLines(log []byte) string {
	const most = 2000
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return string(log)
}
