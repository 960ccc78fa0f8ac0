package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/capiam/capiam/pkg/authenticator"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/token"
)

// bareOrder asks for bare signature checks by an algorithm.
type bareOrder struct {
	Algorithm string        `json:"algorithm"`
	For       time.Duration `json:"for"`
}

// jwtMain is a process that is an authenticator, one that remembers no tokens and
// one that does, and on order checks bare signatures, so that all cost what they
// do in one process.
func jwtMain(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(authenticator.GCPercent) // as the program does
	var addrs []string
	for _, ttl := range []time.Duration{0, config.Defaults().TokenCacheTTL} {
		addr, stop, startErr := jwtServer(ctx, dir, ttl)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
		addrs = append(addrs, addr)
	}
	idle, err := serveNothing(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(talk(in, out, append(addrs, idle.Addr), bareChecks), idle.Close())
}

// jwtServer starts an authenticator that remembers tokens for so long.
func jwtServer(ctx context.Context, dir string, ttl time.Duration) (addr string, stop func() error, err error) {
	file, err := config.Load(filepath.Join(dir, "config-jwt.yaml"))
	if err != nil {
		return "", nil, err
	}
	settings := config.Defaults()
	settings.Apply(file)
	settings.StateDir, settings.Port, settings.HealthPort = dir, 0, 0
	settings.KubeconfigPregenerated, settings.TokenCacheTTL = true, ttl
	settings.Complete()
	if err := settings.Check(); err != nil {
		return "", nil, err
	}
	log, err := os.Create(filepath.Join(dir, fmt.Sprintf("jwt-%s.log", ttl)))
	if err != nil {
		return "", nil, err
	}
	started := make(chan net.Addr, 1)
	server, err := authenticator.New(authenticator.Options{
		Settings: settings, Log: slog.New(slog.NewTextHandler(log, nil)), Instance: "bench",
		Started: func(webhook, _ net.Addr) { started <- webhook },
	})
	if err != nil {
		return "", nil, errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stop = func() error {
		cancel()
		return errors.Join(<-done, log.Close())
	}
	select {
	case err := <-done:
		cancel()
		return "", nil, errors.Join(err, log.Close())
	case addr := <-started:
		return addr.String(), stop, nil
	}
}

// serveNothing is what Go's HTTPS server costs alone: it reads the request and
// says yes.
func serveNothing(ctx context.Context, dir string) (*http.Server, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := []byte(`{"status":{"authenticated":true}}` + strings.Repeat(" ", 400))
	s := &http.Server{
		Addr: ln.Addr().String(), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write(answer)
		}),
	}
	go func() { _ = s.ServeTLS(ln, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")) }()
	return s, nil
}

// bareChecks checks a signature again and again and returns what one check
// costs, in nanoseconds of this process's CPU time.
func bareChecks(order bareOrder) (any, error) {
	check, err := bareCheck(order.Algorithm)
	if err != nil {
		return nil, err
	}
	cpu0, err := cpuTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	n := 0
	for begin := time.Now(); time.Since(begin) < order.For; n += 20 {
		for range 20 {
			if !check() {
				return nil, errors.New("a good signature is refused")
			}
		}
	}
	cpu1, err := cpuTime(os.Getpid())
	return float64(cpu1-cpu0) / float64(n), err
}

// bareCheck returns the check of a JWT's signature and nothing else: the digest
// of what is signed, and the public key's operation.
func bareCheck(algorithm string) (func() bool, error) {
	signed := make([]byte, 800) // header and claims of a JWT from AWS
	if algorithm == token.RS256 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(signed)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		return func() bool {
			sum := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) == nil
		}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum384(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	signature := append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	return func() bool {
		sum := sha512.Sum384(signed)
		r, s := new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])
		return ecdsa.Verify(&key.PublicKey, sum[:], r, s)
	}, err
}

// jwt measures whole logins by JWT beside the bare check of the signature. Both
// are CPU time of the server's process alone, in user and kernel mode: the load
// comes from another one.
func (b *bench) jwt(ctx context.Context) (rows []row, err error) {
	w, err := newWorld(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if _, err := w.configFile(sizes[0], func(s *config.Server) {
		s.TokenIssuers = []config.TokenIssuer{{IssuerURL: w.state.IssuerURL(benchAccount), AccountID: benchAccount}}
	}); err != nil {
		return nil, err
	}
	server, err := startChild(ctx, []string{
		"HTTPS_PROXY=http://" + w.sts.addrs[0], "SSL_CERT_FILE=" + w.path("ca.pem"), "AWS_EC2_METADATA_DISABLED=true",
	}, "jwt", w.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	for _, algorithm := range []string{token.RS256, token.ES384} {
		aim := "at most 3"
		if algorithm == token.ES384 {
			aim = "at most 1.2"
		}
		bodies, err := w.jwts(ctx, sizes[0], algorithm)
		if err != nil {
			return nil, err
		}
		l := newLoad(w, bodies)
		for _, atOnce := range []int{1, 8, 64} {
			var whole, cached, bare, least []float64
			// Twice as often as the rest, and the bare check on either side of
			// what it is held against: CPU time too depends on what else the
			// machine does, and here it is all in the ratio.
			for range 2 * b.runs {
				var before, after float64
				if err := b.askBare(server, bareOrder{algorithm, b.window / 4}, &before); err != nil {
					return nil, err
				}
				s, err := l.run(ctx, w, server.addrs[0], server.cmd.Process.Pid, atOnce, b.window)
				if err != nil {
					return nil, err
				}
				if err := b.askBare(server, bareOrder{algorithm, b.window / 4}, &after); err != nil {
					return nil, err
				}
				remembered, err := l.run(ctx, w, server.addrs[1], server.cmd.Process.Pid, atOnce, b.window)
				if err != nil {
					return nil, err
				}
				nothing, err := l.run(ctx, w, server.addrs[2], server.cmd.Process.Pid, atOnce, b.window)
				if err != nil {
					return nil, err
				}
				check := (before + after) / 2 / 1000
				whole, cached = append(whole, s.cpu), append(cached, remembered.cpu)
				bare, least = append(bare, check), append(least, check+nothing.cpu)
			}
			name := fmt.Sprintf("JWT login %s, %d at once: CPU", algorithm, atOnce)
			rows = append(rows, compare(name, "us", "bare signature check", aim, whole, bare),
				compare(name, "us", "the same and an HTTPS request that does nothing", "", whole, least),
				compare(name+", cached", "us", "bare signature check", "", cached, bare))
		}
	}
	return rows, nil
}

// askBare has bare checks made while this process is as busy as when it sends
// logins: what a core costs depends on what its other half does.
func (b *bench) askBare(server *child, order bareOrder, cost *float64) error {
	ctx, cancel := context.WithCancel(context.Background())
	busy := make(chan error, 1)
	go func() {
		check, err := bareCheck(order.Algorithm)
		for err == nil && ctx.Err() == nil {
			check()
		}
		busy <- err
	}()
	err := server.ask(order, cost)
	cancel()
	return errors.Join(err, <-busy)
}
