package inside

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	controlSocket = "/run/capiam-e2e.sock"
)

// kubeletCommand is what kubeadm's package makes of kubelet's unit, with what a
// machine needs besides: control groups of version 1, by their file system.
const kubeletCommand = `set -a
[ ! -f /var/lib/kubelet/kubeadm-flags.env ] || . /var/lib/kubelet/kubeadm-flags.env
[ ! -f /etc/default/kubelet ] || . /etc/default/kubelet
exec kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
	--config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS --fail-cgroupv1=false --cgroup-driver=cgroupfs $KUBELET_EXTRA_ARGS`

// Supervise is what systemd is on another machine: it keeps containerd running,
// and kubelet as soon as kubeadm starts it, and does what `systemctl` asks.
func Supervise() error {
	spec, err := readSpec(strings.NewReader(os.Getenv(specEnv)))
	if err != nil {
		return err
	}
	if err := os.Unsetenv(specEnv); err != nil {
		return err
	}
	unix.CloseOnExec(ReadyFD)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	units := map[string]*unit{
		"containerd": {name: "containerd", command: []string{"containerd"}},
		"kubelet":    {name: "kubelet", command: []string{"sh", "-c", kubeletCommand}},
	}
	listener, err := net.Listen("unix", controlSocket)
	if err != nil {
		return err
	}
	go serve(listener, units)
	if err := writeBaseSpec(ctx, spec.Trust); err != nil {
		ready(err)
		return err
	}
	units["containerd"].start()
	if err := waitForContainerd(ctx); err != nil {
		ready(err)
		return err
	}
	archives, err := filepath.Glob(filepath.Join(ArchiveDir, "*.tar"))
	if err == nil && len(archives) > 0 {
		err = Import(ctx, archives)
	}
	if err != nil {
		ready(err)
		return err
	}
	// The line that says, with systemd, that a machine is up; it is waited for.
	fmt.Println("Reached target Multi-User System")
	ready(nil)
	<-ctx.Done()
	for _, name := range []string{"kubelet", "containerd"} {
		units[name].stop()
	}
	return nil
}

func waitForContainerd(ctx context.Context) error {
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := ctr(ctx, "images", "list", "--quiet")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// baseSpecFile is what containerd makes every container from.
const baseSpecFile = "/etc/containerd/base-spec.json"

// writeBaseSpec has every container see the machine's certificate authorities
// where programs look for them first.
func writeBaseSpec(ctx context.Context, trust string) error {
	raw, err := exec.CommandContext(ctx, "ctr", "oci", "spec").Output()
	if err != nil {
		return fmt.Errorf("containerd's base specification: %w", err)
	}
	if trust != "" {
		const bundle, ours = "/etc/ssl/certs/ca-certificates.crt", "/etc/containerd/trust.pem"
		if err := os.WriteFile(ours, []byte(trust), 0o644); err != nil {
			return err
		}
		var spec map[string]any
		if err := json.Unmarshal(raw, &spec); err != nil {
			return err
		}
		mounts, _ := spec["mounts"].([]any)
		spec["mounts"] = append(mounts, map[string]any{
			"destination": bundle, "source": ours, "type": "bind", "options": []string{"bind", "ro"},
		})
		if raw, err = json.Marshal(spec); err != nil {
			return err
		}
	}
	return os.WriteFile(baseSpecFile, raw, 0o644)
}

// Import loads archives of images into containerd, for Kubernetes. Each image is
// there by its tag and by its digest, as if it had been pulled by either.
func Import(ctx context.Context, archives []string) error {
	for _, archive := range archives {
		if _, err := ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	list, err := ctr(ctx, "images", "list")
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		// REF TYPE DIGEST and more, under a heading
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "sha256:") || strings.HasPrefix(fields[0], "sha256:") || strings.Contains(fields[0], "@") {
			continue
		}
		repository := fields[0][:strings.LastIndexByte(fields[0], ':')]
		if _, err := ctr(ctx, "images", "tag", "--force", fields[0], repository+"@"+fields[2]); err != nil {
			return err
		}
	}
	return nil
}

func ctr(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--namespace=k8s.io"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// unit is a program that is kept running.
type unit struct {
	name    string
	command []string

	mu      sync.Mutex
	cancel  context.CancelFunc // nil while it is stopped
	running bool
	done    chan struct{}
}

func (u *unit) start() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel, u.done = cancel, make(chan struct{})
	go u.run(ctx, u.done)
}

func (u *unit) stop() {
	u.mu.Lock()
	cancel, done := u.cancel, u.done
	u.cancel = nil
	u.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

func (u *unit) active() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.running
}

func (u *unit) setRunning(running bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running = running
}

// run starts the program again a second after it ended, until ctx is done.
func (u *unit) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	for ctx.Err() == nil {
		if err := u.once(ctx); err != nil && ctx.Err() == nil {
			fmt.Printf("%s: %v\n", u.name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (u *unit) once(ctx context.Context) error {
	log, err := os.OpenFile("/var/log/"+u.name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, u.command[0], u.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	u.setRunning(true)
	defer u.setRunning(false)
	return cmd.Wait()
}

// serve answers `systemctl`: one line with a verb and a unit, one line back.
func serve(listener net.Listener, units map[string]*unit) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			line, err := bufio.NewReader(connection).ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintln(connection, answer(strings.Fields(line), units))
		}()
	}
}

func answer(words []string, units map[string]*unit) string {
	if len(words) != 2 {
		return "want a verb and a unit"
	}
	u, known := units[strings.TrimSuffix(words[1], ".service")]
	if !known {
		return "no such unit: " + words[1]
	}
	switch words[0] {
	case "start":
		u.start()
	case "stop":
		u.stop()
	case "restart", "reload", "reload-or-restart", "try-restart":
		u.stop()
		u.start()
	case "is-active":
		if !u.active() {
			return "inactive"
		}
	case "is-enabled", "status", "enable", "disable", "mask", "unmask":
	default:
		return "unknown verb: " + words[0]
	}
	return ""
}

// Systemctl is the program `systemctl` of a machine.
func Systemctl(args []string) error {
	var words []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			words = append(words, arg)
		}
	}
	if len(words) > 0 && words[0] == "daemon-reload" {
		return nil
	}
	connection, err := net.Dial("unix", controlSocket)
	if err != nil {
		return err
	}
	defer connection.Close()
	fmt.Fprintln(connection, strings.Join(words, " "))
	reply, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	if reply = strings.TrimSpace(reply); reply != "" {
		return errors.New(reply)
	}
	return nil
}
