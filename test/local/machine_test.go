package local_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/test/programs"
)

// clustersAtOnce is as many as two cores bring up without slowing each other
// down beyond use.
var clustersAtOnce = semaphore.NewWeighted(2)

// patience bounds everything that is waited for. It is far more than anything
// takes, so that a busy machine fails no test.
const patience = 2 * time.Minute

// machine is a user's machine as a test sees it: a home, a working directory,
// the programs, and nothing of whoever runs the tests.
type machine struct {
	t    *testing.T
	bin  string
	work string
	home string
	data string
	env  []string

	mu sync.Mutex
	// said is everything that commands have printed, for looking for secrets.
	said bytes.Buffer
}

// newMachine returns a machine on which the test may run so many clusters, and
// takes away whatever the test leaves there. The user's data lies below
// subdirectory.
func newMachine(t *testing.T, clusters int64, subdirectory ...string) *machine {
	t.Helper()
	bin := programs.Dir(t, "capiam", "capiam-local", "capiam-authenticator", "kubectl", "aws-iam-authenticator")
	dir := t.TempDir()
	m := &machine{
		t: t, bin: bin,
		work: filepath.Join(dir, "work"),
		home: filepath.Join(dir, "home"),
		data: filepath.Join(append([]string{dir, "data"}, subdirectory...)...),
	}
	for _, dir := range []string{m.work, m.home, m.data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m.env = m.environment()
	if err := clustersAtOnce.Acquire(t.Context(), clusters); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clustersAtOnce.Release(clusters) })
	t.Cleanup(m.cleanUp)
	return m
}

// environment is a fresh user's, with the programs under test first in PATH.
func (m *machine) environment() []string {
	env := []string{
		"HOME=" + m.home,
		"XDG_DATA_HOME=" + m.data,
		"PATH=" + m.bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"NO_COLOR=1",
	}
	for _, name := range []string{"TMPDIR", "LANG", "TZ", "USER"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// cleanUp deletes the machine's clusters. After a failure it shows their logs
// first.
func (m *machine) cleanUp() {
	store := local.Store{Root: filepath.Join(m.data, "capiam", "clusters")}
	entries, _ := os.ReadDir(store.Root)
	for _, entry := range entries {
		if m.t.Failed() {
			m.showLogs(store.Layout(entry.Name()))
		}
		r := m.run(nil, "capiam", "delete", "cluster", entry.Name(), "--force")
		// One that was killed before it had a record is only a directory.
		if r.code != 0 && !strings.Contains(r.stderr, "no such local cluster") {
			m.t.Errorf("delete cluster %s: %s", entry.Name(), r.stderr)
		}
	}
	for _, p := range m.processes() {
		m.t.Errorf("left behind: %s", p)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

func (m *machine) showLogs(l local.Layout) {
	const most = 6 << 10
	paths, _ := filepath.Glob(l.Log("*"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			m.t.Log(err)
			continue
		}
		if len(data) > most {
			data = append([]byte("..."), data[len(data)-most:]...)
		}
		m.t.Logf("%s:\n%s", filepath.Base(path), data)
	}
}

// step is a part of a test with a name of its own. If it fails, so does the test,
// at once: what comes after builds on it.
func (m *machine) step(name string, run func(t *testing.T)) {
	m.t.Helper()
	outer := m.t
	ok := outer.Run(name, func(t *testing.T) {
		m.t = t
		defer func() { m.t = outer }()
		run(t)
	})
	if !ok {
		outer.FailNow()
	}
}

// result is what a command said.
type result struct {
	command        string
	stdout, stderr string
	// code is the exit status, -1 after a signal.
	code int
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit status %d\nstdout:\n%s\nstderr:\n%s", r.command, r.code, r.stdout, r.stderr)
}

// decode reads a command's JSON.
func (r result) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
}

// run runs a program to its end, with more environment.
func (m *machine) run(env []string, program string, args ...string) result {
	m.t.Helper()
	return m.start(env, program, args...).wait()
}

// quiet runs capiam and keeps what it prints out of what is looked through for
// secrets, because it prints some.
func (m *machine) quiet(args ...string) result {
	m.t.Helper()
	r := m.prepare(nil, "capiam", args...)
	r.quiet = true
	r.begin()
	return r.wait()
}

// capiam runs capiam, whose success is expected.
func (m *machine) capiam(args ...string) result {
	m.t.Helper()
	r := m.run(nil, "capiam", args...)
	if r.code != 0 {
		m.t.Fatal(r)
	}
	return r
}

// refused runs capiam, which must fail, change nothing, and say each of the
// texts.
func (m *machine) refused(args []string, texts ...string) {
	m.t.Helper()
	r := m.run(nil, "capiam", args...)
	if r.code != 1 {
		m.t.Errorf("want exit status 1: %s", r)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			m.t.Errorf("want %q: %s", text, r)
		}
	}
}

// running is a program that runs.
type running struct {
	m     *machine
	cmd   *exec.Cmd
	quiet bool
	// lines are those of standard error.
	lines  chan string
	done   chan struct{}
	result result
}

// start starts a program.
func (m *machine) start(env []string, program string, args ...string) *running {
	m.t.Helper()
	r := m.prepare(env, program, args...)
	r.begin()
	return r
}

func (m *machine) prepare(env []string, program string, args ...string) *running {
	path := program
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.bin, program)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = m.work
	cmd.Env = append(append([]string(nil), m.env...), env...)
	r := &running{
		m: m, cmd: cmd,
		// Nobody has to read the lines, so there is room for all.
		lines: make(chan string, 10000),
		done:  make(chan struct{}),
	}
	r.result.command = filepath.Base(path) + " " + strings.Join(args, " ")
	return r
}

func (r *running) begin() {
	r.m.t.Helper()
	var stdout, stderr bytes.Buffer
	r.cmd.Stdout = &stdout
	pipe, err := r.cmd.StderrPipe()
	if err != nil {
		r.m.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.m.t.Fatal(err)
	}
	// Not bound to the test's context: that ends before the cleanup.
	timer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	go func() {
		defer close(r.done)
		defer timer.Stop()
		scanner := bufio.NewScanner(io.TeeReader(pipe, &stderr))
		for scanner.Scan() {
			r.lines <- scanner.Text()
		}
		close(r.lines)
		_ = r.cmd.Wait() // the exit status says it
		r.result.stdout, r.result.stderr = stdout.String(), stderr.String()
		r.result.code = r.cmd.ProcessState.ExitCode()
		if r.quiet {
			return
		}
		r.m.mu.Lock()
		defer r.m.mu.Unlock()
		r.m.said.WriteString(r.result.stdout)
		r.m.said.WriteString(r.result.stderr)
	}()
}

func (r *running) wait() result {
	<-r.done
	return r.result
}

// waitLine waits for a line on standard error that starts with the text, and
// tells whether it came before the program ended.
func (r *running) waitLine(text string) bool {
	for line := range r.lines {
		if strings.HasPrefix(line, text) {
			return true
		}
	}
	return false
}

func (r *running) signal(s os.Signal) {
	r.m.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.m.t.Fatal(err)
	}
}

// write writes a file into the working directory and returns its path.
func (m *machine) write(name, content string) string {
	m.t.Helper()
	path := filepath.Join(m.work, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// eventually waits until a condition holds. The condition says what is missing.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}
