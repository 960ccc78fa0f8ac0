package authenticator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/ec2dns"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/presigned"
	"github.com/capiam/capiam/pkg/authenticator/servingcert"
	"github.com/capiam/capiam/pkg/authenticator/stsclient"
	"github.com/capiam/capiam/pkg/authenticator/webidentity"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/kubeconfig"
)

// GCPercent is what a process that is nothing but a server should give to
// debug.SetGCPercent: the heap is a few megabytes, and would be collected many
// times a second under load.
const GCPercent = 200

// Options are what a Server is made of.
type Options struct {
	// Settings must be complete and checked.
	Settings config.Settings
	Log      *slog.Logger
	// Network is how STS, issuers and EC2 are reached; zero is the machine's.
	Network outbound.Network
	// Instance names this server in events: the node's name, say.
	Instance string
	// DrainTime bounds how long requests under way may take when the server
	// stops; 10 seconds if zero.
	DrainTime time.Duration
	// UntilReady is the readyz of another server, which this one stands in for
	// until that answers 200, or until StandInEnds. The two share the webhook's
	// port, and this one serves no health and keeps no snapshot. Where the
	// settings share no port, it does nothing. Empty for a server in its own
	// right.
	UntilReady  string
	StandInEnds time.Time
	// Started is called once with the addresses listened on; health is nil for a
	// server that stands in. It may be nil.
	Started func(webhook, health net.Addr)
	// Now is the clock that tokens are judged by; nil is the machine's.
	Now func() time.Time
}

// Server is the whole authenticator: webhook, health, backends and what keeps
// them up to date.
type Server struct {
	opts    Options
	cert    *servingcert.Source
	metrics *metrics.Metrics
	store   *backend.Store
	modes   *backend.Modes
	decider *Decider
	sts     *stsclient.Client
	jwt     *webidentity.Verifier
	ec2     *ec2dns.Resolver
	// listening says that the webhook's port is open, waiting since when, in
	// nanoseconds of time.Time's Unix clock, one that somebody has is waited for.
	listening atomic.Bool
	waiting   atomic.Int64
	// runs are what Run keeps going.
	runs []func(ctx context.Context)
}

// New prepares a server: the certificate is read or made, the MountedFile table
// is checked. It listens on nothing yet. Close it if Run is not called.
func New(opts Options) (*Server, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.DrainTime == 0 {
		opts.DrainTime = 10 * time.Second
	}
	if opts.UntilReady != "" {
		// Nobody would notice that it is of yesterday.
		opts.Settings.SnapshotDir = ""
	}
	set := &opts.Settings
	s := &Server{opts: opts, metrics: metrics.New()}
	partition, ok := iam.LookupPartition(set.Partition)
	if !ok {
		return nil, fmt.Errorf("unknown partition %q", set.Partition)
	}
	parser, err := presigned.NewParser(partition, set.KnownRegions(partition)...)
	if err != nil {
		return nil, err
	}
	if err := s.openCertificate(); err != nil {
		return nil, err
	}
	s.sts, err = stsclient.New(stsclient.Options{
		ClusterID: set.ClusterID, Partition: set.Partition, Endpoint: set.STSEndpoint,
		Network: opts.Network, Observe: s.metrics.STSCalled,
	})
	if err != nil {
		return nil, err
	}
	issuers := make([]webidentity.Issuer, len(set.TokenIssuers))
	for i, t := range set.TokenIssuers {
		issuers[i] = webidentity.Issuer{URL: t.IssuerURL, Account: t.AccountID}
	}
	s.jwt = webidentity.New(webidentity.Options{
		Issuers: issuers, Audiences: set.Audiences, Partition: set.Partition,
		Network: opts.Network, Log: opts.Log, ObserveFetch: s.metrics.KeysFetched, Now: opts.Now,
	})
	s.runs = append(s.runs, s.jwt.Run, func(ctx context.Context) { s.cert.Run(ctx, nil) })
	s.ec2 = ec2dns.New(ec2dns.Options{
		Region: set.Region, Partition: partition, RoleARN: set.EC2DescribeInstancesRoleARN, SourceARN: set.SourceARN,
		QPS: set.EC2DescribeInstancesQPS, Burst: set.EC2DescribeInstancesBurst,
		Network: opts.Network, Log: opts.Log, Observe: s.metrics.EC2Calls.Inc,
	})
	s.runs = append(s.runs, s.ec2.Run)
	s.store = backend.NewStore(set.BackendMode, backend.StoreOptions{
		Partition: set.Partition, StrictUserID: set.DynamicFileUserIDStrict,
		NodeNames: s.ec2.Need, Log: opts.Log, Metrics: s.metrics,
	})
	if err := s.openBackends(); err != nil {
		s.Close()
		return nil, err
	}
	s.decider = NewDecider(DeciderOptions{
		RefusePresigned: !set.TakesPresigned(), RefuseJWT: !set.TakesJWT(),
		Presigned: parser, STS: s.sts, JWT: s.jwt, Store: s.store, NodeNames: s.ec2, Metrics: s.metrics,
		ReservedPrefixes: set.ReservedPrefixes, CacheTTL: set.TokenCacheTTL, CacheSize: set.TokenCacheSize, Now: opts.Now,
	})
	return s, nil
}

// Decider returns what judges the server's tokens.
func (s *Server) Decider() *Decider { return s.decider }

// Metrics returns the server's metrics.
func (s *Server) Metrics() *metrics.Metrics { return s.metrics }

// Close frees what New made.
func (s *Server) Close() {
	s.jwt.Close()
	s.sts.Close()
	s.ec2.Close()
}

// openCertificate reads the certificate, or makes one as the original does.
func (s *Server) openCertificate() error {
	set := &s.opts.Settings
	exists, err := servingcert.Exists(set.StateDir)
	if err != nil {
		return err
	}
	if !exists {
		if err := servingcert.SelfSign(set.StateDir, set.Hostname, set.Address, time.Now()); err != nil {
			return fmt.Errorf("no serving certificate in %s, and none could be made: %w", set.StateDir, err)
		}
		s.opts.Log.Info("serving certificate made", "dir", set.StateDir)
		if set.KubeconfigPregenerated {
			s.opts.Log.Warn("the API server's kubeconfig is said to exist already, and cannot trust a certificate made just now", "dir", set.StateDir)
		}
	}
	cert, err := servingcert.Open(set.StateDir, s.opts.Log, nil)
	if err != nil {
		return err
	}
	cert.Changed = func(leaf *x509.Certificate) { s.metrics.CertificateExpires(leaf.NotAfter) }
	cert.Changed(cert.Leaf())
	s.cert = cert
	if set.KubeconfigPregenerated {
		return nil
	}
	webhook := kubeconfig.Webhook(servingcert.ServerURL(set.Hostname, set.Port), cert.PEM())
	if _, err := kubeconfig.WriteFile(set.GenerateKubeconfig, webhook); err != nil {
		return fmt.Errorf("the API server's kubeconfig: %w", err)
	}
	return nil
}

// Run serves until ctx ends, or until the server it stands in for is ready, then
// lets requests under way finish and returns nil. It returns early if it cannot
// listen.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	set := &s.opts.Settings
	if s.opts.UntilReady != "" {
		if !set.SharePort {
			s.opts.Log.Warn("the other server shares no port (server.sharePort), so nobody can stand in for it")
			return nil
		}
		var cancel context.CancelFunc
		ctx, cancel = s.standIn(ctx)
		defer cancel()
		if ctx.Err() != nil {
			return nil
		}
	}
	listeners, err := s.openListeners(ctx)
	if err != nil {
		return err
	}
	webhook, health := s.webhookServer(), s.healthServer()
	failed := make(chan error, 3)
	life, stop := context.WithCancel(ctx)
	var owned sync.WaitGroup
	defer owned.Wait()
	defer stop()
	for _, run := range s.runs {
		owned.Go(func() { run(life) })
	}
	if listeners.socket != nil {
		owned.Go(func() { failed <- health.Serve(listeners.socket) })
	}
	if s.opts.UntilReady == "" {
		owned.Go(func() {
			l, err := listeners.health, error(nil)
			if l == nil {
				l, err = s.listen(life, set.HealthAddress, set.HealthPort)
			}
			if err == nil {
				err = health.Serve(l)
			}
			failed <- err
		})
	}
	if listeners.webhook == nil {
		listeners.webhook, err = s.listenWebhook(ctx)
	}
	if err == nil {
		owned.Go(func() { failed <- webhook.ServeTLS(listeners.webhook, "", "") })
		s.started(listeners.webhook, listeners.health)
		select {
		case err = <-failed:
		case <-ctx.Done():
			s.opts.Log.Info("stopping", "drain", s.opts.DrainTime)
		}
	}
	stop()
	s.shutdown(ctx, webhook, health)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil // what else is wrong then, is so because it stops
	}
	return err
}

// started tells where logins are judged. A health port that is waited for is not
// known yet.
func (s *Server) started(webhook, health net.Listener) {
	set := &s.opts.Settings
	var healthAddr net.Addr
	healthText := "not yet"
	if health != nil {
		healthAddr = health.Addr()
		healthText = healthAddr.String()
	}
	s.opts.Log.Info("serving", "webhook", webhook.Addr().String(), "health", healthText,
		"clusterID", set.ClusterID, "partition", set.Partition, "backends", s.store.Names(), "issuers", len(set.TokenIssuers))
	if s.opts.Started != nil {
		s.opts.Started(webhook.Addr(), healthAddr)
	}
}

// webhookServer is what the API server talks to.
func (s *Server) webhookServer() *http.Server {
	return &http.Server{
		Handler:           s.webhookMux(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         newIdleConns(maxIdleConns).state,
		ErrorLog:          s.quietLog(),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: s.cert.GetCertificate,
			NextProtos:     []string{"h2", "http/1.1"},
		},
	}
}

// healthServer is what the kubelet and those who gather metrics talk to.
func (s *Server) healthServer() *http.Server {
	return &http.Server{
		Handler:           s.healthMux(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		ConnState:         newIdleConns(64).state,
		ErrorLog:          s.quietLog(),
	}
}

// quietLog takes what net/http has to say.
func (s *Server) quietLog() *log.Logger { return log.New(quiet{s.opts.Log}, "", 0) }

// quiet logs lines at debug level, but for HTTP/2's own: with GODEBUG=http2debug
// those are the requests, tokens and all.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(line []byte) (int, error) {
	if !bytes.HasPrefix(line, []byte("http2: ")) {
		q.log.Debug(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}

// shutdown lets the requests of servers finish, one server after the other.
func (s *Server) shutdown(ctx context.Context, servers ...*http.Server) {
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.DrainTime)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(drain); err != nil {
			s.opts.Log.Warn("requests cut off", "error", err.Error())
			_ = srv.Close()
		}
	}
}
