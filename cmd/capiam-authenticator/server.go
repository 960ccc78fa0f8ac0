package main

import (
	"fmt"
	"io"
	stdlog "log"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/capiam/capiam/pkg/authenticator"
	"github.com/capiam/capiam/pkg/authenticator/bootstrap"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

func newServerCommand(g *globals) *cobra.Command {
	s := config.Defaults()
	drain := 10 * time.Second
	untilReady := ""
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the webhook",
		Long: `Run the webhook that authenticates tokens by AWS IAM.

Flags come before environment variables, those before the configuration file.
SIGTERM lets requests under way finish, then the program exits with status 0.`,
		Example: `  capiam-authenticator server --config /etc/aws-iam-authenticator/config.yaml \
    --backend-mode EKSConfigMap,MountedFile --kubeconfig-pregenerated=true`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.settings(cmd, &s); err != nil {
				return err
			}
			log, err := g.logger()
			if err != nil {
				return err
			}
			// GOGC still has the last word.
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(authenticator.GCPercent)
			}
			// client-go logs by way of klog, in a form of its own. What of it
			// matters, a watch that fails, the backends log themselves.
			klog.LogToStderr(false)
			klog.SetOutput(io.Discard)
			// With GODEBUG=http2debug, net/http shows what it sends and gets,
			// tokens and all, to the standard logger, which nobody else uses.
			stdlog.SetOutput(io.Discard)
			server, err := authenticator.New(authenticator.Options{
				Settings: s, Log: log, Instance: instance(), DrainTime: drain,
				UntilReady: untilReady, StandInEnds: standInEnds(s.Kubeconfig),
			})
			if err != nil {
				return err
			}
			// Reading a large table leaves several times its size behind,
			// which would stay with this process for good.
			s.Mounted = mapping.Mappings{}
			debug.FreeOSMemory()
			if err := server.Run(cmd.Context()); err != nil || untilReady == "" {
				return err
			}
			// A program that ends is started again.
			if cmd.Context().Err() == nil {
				log.Info("no longer standing in: nothing is left to do", "for", untilReady)
			}
			debug.FreeOSMemory()
			<-cmd.Context().Done()
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Partition, "partition", s.Partition, "AWS partition, one of "+strings.Join(iam.PartitionIDs(), ", "))
	f.StringVar(&s.GenerateKubeconfig, "generate-kubeconfig", s.GenerateKubeconfig, "`path` for the API server's webhook kubeconfig")
	f.BoolVar(&s.KubeconfigPregenerated, "kubeconfig-pregenerated", s.KubeconfigPregenerated, "the API server has its kubeconfig already; write none")
	f.StringVar(&s.StateDir, "state-dir", s.StateDir, "`directory` of cert.pem and key.pem, which are made if they are missing")
	f.StringVar(&s.Kubeconfig, "kubeconfig", s.Kubeconfig, "`file` to reach the API server with, for the backends EKSConfigMap and CRD; a pod's own if empty")
	f.StringVar(&s.Master, "master", s.Master, "`URL` of the API server, instead of the kubeconfig's")
	f.StringVar(&s.Address, "address", s.Address, "`address` to serve the webhook on: an IP address, or a host name, which is looked up once, at the start")
	f.IntVar(&s.Port, "port", s.Port, "port to serve the webhook on")
	f.StringSliceVar(&s.BackendMode, "backend-mode", s.BackendMode, "backends in the order they are asked: "+strings.Join(mapping.Backends(), ","))
	f.IntVar(&s.EC2DescribeInstancesQPS, "ec2-describeInstances-qps", s.EC2DescribeInstancesQPS, "calls of EC2's DescribeInstances a second, at most")
	f.IntVar(&s.EC2DescribeInstancesBurst, "ec2-describeInstances-burst", s.EC2DescribeInstancesBurst, "such calls at once after a pause, at most")
	f.StringVar(&s.HealthAddress, "health-address", s.HealthAddress, "`address` for /healthz, /readyz and /metrics without TLS, in the same form")
	f.IntVar(&s.HealthPort, "health-port", s.HealthPort, "port for the same")
	f.StringVar(&s.SnapshotDir, "snapshot-dir", s.SnapshotDir, "`directory` that keeps the last good mappings over a restart; the state directory if empty")
	f.DurationVar(&s.AWSAuthGracePeriod, "aws-auth-grace-period", s.AWSAuthGracePeriod, "how long the entries of a deleted or emptied aws-auth stay in force, of one of its keys, or of a list of the DynamicFile")
	f.DurationVar(&s.TokenCacheTTL, "token-cache-ttl", s.TokenCacheTTL, "how long a verified token is remembered at most; 0 verifies each anew")
	f.IntVar(&s.TokenCacheSize, "token-cache-size", s.TokenCacheSize, "how many verified tokens are remembered at most")
	f.StringVar(&untilReady, "until-ready", "", "stand in for another server on the same port until its `URL` answers 200, then only wait for SIGTERM")
	f.DurationVar(&drain, "drain-time", drain, "how long requests under way may take after SIGTERM")
	return cmd
}

// standInEnds is when to stop standing in for another server: some time after
// "bootstrap" has written the kubeconfig, however often this program was started
// since.
func standInEnds(kubeconfig string) time.Time {
	info, err := os.Stat(kubeconfig)
	if err != nil {
		return time.Time{} // without one there is nothing to grow old
	}
	return info.ModTime().Add(bootstrap.StandInTime)
}

// instance names this server in events: the node, if the DaemonSet says it.
func instance() string {
	if n := os.Getenv("NODE_NAME"); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return fmt.Sprintf("pid-%d", os.Getpid())
	}
	return n
}
