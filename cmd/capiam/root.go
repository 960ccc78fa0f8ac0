package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"
)

// streams are where a command reads and writes. Data goes to out, progress and
// errors to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// exitError is an error that decides the exit status. Its message is printed
// unless it is empty.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Exit statuses, as documented in every command's help.
const (
	exitOK      = 0
	exitFailure = 1
	exitTimeout = 124
)

// Run runs the command line and returns the exit status.
func Run(ctx context.Context, s streams, args []string) int {
	cmd := newRootCommand(s)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailure
	if coded, ok := errors.AsType[*exitError](err); ok {
		code = coded.code
	}
	if text := err.Error(); text != "" && !readerLeft(err) {
		fmt.Fprintf(s.err, "error: %s\n", text)
	}
	return code
}

// readerLeft tells whether the error is that nobody reads our output any more,
// as with "capiam ... | head". There is nothing to say about that.
func readerLeft(err error) bool {
	failed, ok := errors.AsType[*fs.PathError](err)
	return ok && failed.Path == os.Stdout.Name() && errors.Is(failed.Err, syscall.EPIPE)
}

func newRootCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "capiam",
		Short: "AWS IAM logins for any Kubernetes cluster",
		Long: `capiam gives any Kubernetes cluster that you run yourself AWS IAM logins.

From one cluster spec, in EKS Anywhere's format, it brings a cluster up whose API
server authenticates through AWS STS, keeps the mapping from IAM identities to
Kubernetes users, and writes the kubeconfig that users log in with.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetIn(s.in)
	cmd.SetOut(s.out)
	cmd.SetErr(s.err)
	cmd.SetUsageTemplate(usageTemplate(cmd))
	cmd.SetFlagErrorFunc(flagError)
	group(cmd,
		newCreateCommand(s),
		newUpgradeCommand(s),
		newDeleteCommand(s),
		newGetCommand(s),
		newDescribeCommand(s),
		newGenerateCommand(s),
		newInstallCommand(s),
		newTokenCommand(s),
		newVersionCommand(s),
	)
	// Now, not when it runs, so that it is a group like the others.
	cmd.InitDefaultCompletionCmd()
	for _, c := range cmd.Commands() {
		if c.Name() == "completion" {
			group(c)
		}
	}
	return cmd
}
