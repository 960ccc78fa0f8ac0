package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/tree"
)

// patience bounds whatever a script waits for, on a machine that has other
// things to do.
const patience = 2 * time.Minute

// cmdInterrupt: interrupt [-again STEP] STEP ARGS... runs capiam and sends it an
// interrupt, as Ctrl-C does, as soon as it says that it begins the step. It has
// to fail for that reason. With -again a second one follows at that step, and
// has to kill it.
func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	again := ""
	if len(args) > 2 && args[0] == "-again" {
		again, args = args[1], args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt [-again step] step args...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := command(ctx, ts, args[1:])
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	out := ts.Stdout()
	cmd.Stdout = out
	ts.Check(cmd.Start())
	awaited := []string{args[0]}
	if again != "" {
		awaited = append(awaited, again)
	}
	lines := bufio.NewScanner(stderr)
	problem := ""
	for lines.Scan() {
		line := lines.Text()
		_, _ = ts.Stderr().Write([]byte(line + "\n"))
		if strings.HasPrefix(line, "error: ") {
			problem = line
		}
		if len(awaited) > 0 && strings.HasPrefix(line, "► "+awaited[0]) {
			awaited = awaited[1:]
			_ = cmd.Process.Signal(os.Interrupt)
		}
	}
	_ = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	switch {
	case len(awaited) > 0:
		ts.Fatalf("step %q never began (%s)", awaited[0], cmd.ProcessState)
	case again != "" && code != -1:
		ts.Fatalf("it ended by itself after two interrupts (%s)", cmd.ProcessState)
	case again == "" && (code != exitFailure || !strings.HasSuffix(problem, ": interrupted")):
		ts.Fatalf("it ended with %s and %q, want status 1 and an error that says it was interrupted", cmd.ProcessState, problem)
	}
}

// command is a run of capiam in the script's directory and environment.
func command(ctx context.Context, ts *testscript.TestScript, args []string) *exec.Cmd {
	path := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "capiam")); err == nil {
			path = filepath.Join(dir, "capiam")
			break
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "KUBECONFIG", "AWS_EC2_METADATA_DISABLED"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// cmdReboot: reboot CLUSTER stops a cluster as a reboot does: nobody asks
// capiam, and nothing but files is left.
func cmdReboot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reboot cluster")
	}
	ts.Check(ts.Exec("capiam", "describe", "cluster", args[0], "-o", "json"))
	var tree tree.Node
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &tree))
	match := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(tree.Parts[0].Parts[0].Detail)
	if match == nil {
		ts.Fatalf("no process in %+v", tree.Parts[0])
	}
	pid, err := strconv.Atoi(match[1])
	ts.Check(err)
	process, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(process.Signal(os.Interrupt))
	layout := local.Layout{Dir: filepath.Join(ts.Getenv("XDG_DATA_HOME"), "capiam", "clusters", args[0])}
	for deadline := time.Now().Add(patience); ; {
		running, err := local.Running(layout)
		ts.Check(err)
		if !running {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("cluster %s still runs after %s", args[0], patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// cmdListen: listen VAR [PORT] takes a loopback port, a free one if none is
// named, and puts it into the variable.
func cmdListen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: listen var [port]")
	}
	port := "0"
	if len(args) == 2 {
		port = args[1]
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	ts.Check(err)
	scriptOf(ts).listeners[args[0]] = listener
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv(args[0], strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

// cmdPort: port VAR FILE puts the port of the file's first address into the
// variable.
func cmdPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: port var file")
	}
	match := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(ts.ReadFile(args[1]))
	if match == nil {
		ts.Fatalf("no address in %s", args[1])
	}
	ts.Setenv(args[0], match[1])
}

// cmdUnlisten: unlisten VAR gives a port back.
func cmdUnlisten(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || scriptOf(ts).listeners[args[0]] == nil {
		ts.Fatalf("usage: unlisten var, after listen")
	}
	ts.Check(scriptOf(ts).listeners[args[0]].Close())
}
