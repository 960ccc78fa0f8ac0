package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/capiam/capiam/pkg/authenticator/config"
)

// streams are where a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// Environment variables of aws-iam-authenticator.
const (
	envClusterID    = "KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID"
	envLogVerbosity = "AWS_IAM_AUTHENTICATOR_LOG_VERBOSITY"
	envDefaultRole  = "DEFAULT_ROLE"
)

// globals are the flags of all commands.
type globals struct {
	streams
	configFile   string
	clusterID    string
	logFormat    string
	logVerbosity string
}

// Run runs the command line and returns the exit status: 0, or 1 for any
// failure.
func Run(ctx context.Context, s streams, args []string) int {
	cmd := newRootCommand(s)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(s.err, "error: %s\n", err)
		return 1
	}
	return 0
}

func newRootCommand(s streams) *cobra.Command {
	g := &globals{streams: s}
	cmd := &cobra.Command{
		Use:   "capiam-authenticator",
		Short: "AWS IAM logins for a Kubernetes API server",
		Long: `capiam-authenticator is the webhook that a Kubernetes API server asks whose token it
has been shown. It takes the place of aws-iam-authenticator: the flags, the
configuration file, the port and the paths are the same.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetIn(s.in)
	cmd.SetOut(s.out)
	cmd.SetErr(s.err)
	f := cmd.PersistentFlags()
	f.StringVarP(&g.configFile, "config", "c", "", "configuration `file`")
	f.StringVarP(&g.clusterID, "cluster-id", "i", "", "`name` tokens are made for; unique to the cluster (or "+envClusterID+")")
	f.StringVarP(&g.logFormat, "log-format", "l", "text", "text or json")
	f.StringVarP(&g.logVerbosity, "log-verbosity", "v", "info", "panic, fatal, error, warning, info, debug or trace (or "+envLogVerbosity+")")
	f.Var(gateFlag{}, "feature-gates", "`gates` of aws-iam-authenticator, Gate=true,...; all of them are simply on")
	cmd.AddCommand(
		newServerCommand(g),
		newTokenCommand(g),
		newVerifyCommand(g),
		newInitCommand(g),
		newBootstrapCommand(g),
		newReadyCommand(g),
		newOwnCommand(g),
		newVersionCommand(g),
	)
	return cmd
}

// readConfig reads the configuration file. Without one, nothing is set.
func (g *globals) readConfig() (*config.File, error) {
	if g.configFile == "" {
		return &config.File{}, nil
	}
	return config.Load(g.configFile)
}

// settings puts defaults, file, environment and flags together, in this order.
func (g *globals) settings(cmd *cobra.Command, s *config.Settings) error {
	given := givenFlags(cmd)
	file, err := g.readConfig()
	if err != nil {
		return err
	}
	s.ConfigFile = g.configFile
	s.Apply(file)
	if file.LogVerbosity != "" && !given.has("log-verbosity") {
		g.logVerbosity = file.LogVerbosity
	}
	if v := os.Getenv(envClusterID); v != "" {
		s.ClusterID = v
	}
	if v := os.Getenv(envLogVerbosity); v != "" && !given.has("log-verbosity") {
		g.logVerbosity = v
	}
	if err := given.restore(); err != nil {
		return err
	}
	if given.has("cluster-id") {
		s.ClusterID = g.clusterID
	}
	if s.Region == "" {
		s.Region = os.Getenv("AWS_REGION")
	}
	if s.Region == "" {
		s.Region = os.Getenv("AWS_DEFAULT_REGION")
	}
	if cmd.Flags().Lookup("backend-mode") == nil {
		// The command asks no backend, and what the file says of them may be
		// whole only with the server's flag.
		s.DynamicFilePath = ""
		s.BackendMode = config.Defaults().BackendMode
	}
	s.Complete()
	return s.Check()
}

// logger makes the log that the flags ask for, on standard error.
func (g *globals) logger() (*slog.Logger, error) {
	opts := &slog.HandlerOptions{}
	switch strings.ToLower(g.logVerbosity) {
	case "panic", "fatal", "error":
		opts.Level = slog.LevelError
	case "warn", "warning":
		opts.Level = slog.LevelWarn
	case "info":
		opts.Level = slog.LevelInfo
	case "debug", "trace":
		opts.Level = slog.LevelDebug
	default:
		return nil, fmt.Errorf("--log-verbosity: unknown level %q (panic, fatal, error, warning, info, debug, trace)", g.logVerbosity)
	}
	switch g.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(g.err, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(g.err, opts)), nil
	}
	return nil, fmt.Errorf("--log-format: unknown format %q (text or json)", g.logFormat)
}
