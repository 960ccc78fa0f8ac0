package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// TestMain lets scripts run this very program as "exec capiam".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"capiam": main})
}

// TestScripts runs the scripts that need no cluster. Each is a command line
// session: commands, what they print, and the files they work on.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               isolateScript,
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// TestClusterScripts runs the scripts that make local clusters, with the
// programs that `make build` has built.
func TestClusterScripts(t *testing.T) {
	t.Parallel()
	bin := os.Getenv("CAPIAM_BIN")
	if bin == "" {
		t.Skip("CAPIAM_BIN is not set: `make test` sets it to the directory with capiam, capiam-local and capiam-authenticator")
	}
	if testing.Short() {
		t.Skip("local clusters take their time")
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "cluster"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("BIN", bin)
			if err := isolateScript(env); err != nil {
				return err
			}
			environment := append([]string(nil), env.Vars...)
			// Whatever a script leaves running must not outlive it.
			env.Defer(func() { deleteClusters(t, bin, env.WorkDir, environment) })
			return nil
		},
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// scriptCondition adds to the conditions of scripts: [root], and [mounts] for a
// user who may mount file systems in a namespace of his own.
func scriptCondition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "mounts":
		return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "test", "/mnt").Run() == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// isolateScript keeps scripts away from the user's own clusters and home. The
// rest of the user's environment, proxies and AWS's included, does not reach a
// script at all. Each script has examples/local.yaml as local.yaml.
func isolateScript(env *testscript.Env) error {
	for name, dir := range map[string]string{"HOME": "home", "XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache"} {
		env.Setenv(name, filepath.Join(env.WorkDir, dir))
	}
	env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "no-kubeconfig"))
	env.Setenv("LONG_NAME", strings.Repeat("long", 100))
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	env.Values[scriptKey{}] = &script{listeners: map[string]net.Listener{}}
	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "local.yaml"))
	if err != nil {
		return err
	}
	return errors.Join(
		os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o700),
		os.WriteFile(filepath.Join(env.WorkDir, "local.yaml"), example, 0o644),
	)
}

func deleteClusters(t *testing.T, bin, dir string, environment []string) {
	records, _ := filepath.Glob(filepath.Join(dir, "data", "capiam", "clusters", "*", "cluster.json"))
	for _, record := range records {
		name := filepath.Base(filepath.Dir(record))
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(bin, "capiam"), "delete", "cluster", "--force", name)
		cmd.Dir, cmd.Env = dir, environment
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("clean up cluster %s: %v\n%s", name, err, out)
		}
	}
}

// script is what a script's commands share.
type script struct {
	remembered map[string]string
	listeners  map[string]net.Listener
}

type scriptKey struct{}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// scriptCommands are the commands scripts have besides testscript's own.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"refused":   cmdRefused,
	"status":    cmdStatus,
	"edit":      cmdEdit,
	"valid":     cmdValid,
	"remember":  cmdRemember,
	"unchanged": cmdUnchanged,
	"modes":     cmdModes,
	"listen":    cmdListen,
	"unlisten":  cmdUnlisten,
	"port":      cmdPort,
	"interrupt": cmdInterrupt,
	"reboot":    cmdReboot,
}

// cmdStatus: status N PROGRAM ARGS... runs a program that has to end with that
// exit status.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = failed.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cmdRefused: refused ARGS... runs capiam with arguments that it has to refuse:
// exit status 1, nothing on standard output, one error, and no file changed,
// made or removed.
func cmdRefused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refused args...")
	}
	before := files(ts)
	cmdStatus(ts, false, append([]string{"1", "capiam"}, args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("refused with something on standard output:\n%s", out)
	}
	if stderr := ts.ReadFile("stderr"); len(anError.FindAllString(stderr, -1)) != 1 {
		ts.Fatalf("want one error, got:\n%s", stderr)
	}
	compareFiles(ts, before, files(ts))
}

var anError = regexp.MustCompile(`(?m)^error: .`)

// cmdEdit: edit FROM TO OLD NEW writes a copy of a file in which OLD, which has
// to stand there once, is NEW. \n in either is a line break.
func cmdEdit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: edit from to old new")
	}
	text := ts.ReadFile(args[0])
	before, after := strings.ReplaceAll(args[2], `\n`, "\n"), strings.ReplaceAll(args[3], `\n`, "\n")
	if n := strings.Count(text, before); n != 1 {
		ts.Fatalf("%q stands in %s %d times", before, args[0], n)
	}
	text = strings.Replace(text, before, after, 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// cmdValid: valid json|yaml FILE checks a file, or stdout.
func cmdValid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: valid json|yaml file")
	}
	var value map[string]any
	data := []byte(ts.ReadFile(args[1]))
	if args[0] == "json" {
		ts.Check(json.Unmarshal(data, &value))
	} else {
		ts.Check(yaml.UnmarshalStrict(data, &value))
	}
	if len(value) == 0 {
		ts.Fatalf("%s holds nothing", args[1])
	}
}
