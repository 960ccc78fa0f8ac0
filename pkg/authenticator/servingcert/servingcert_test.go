package servingcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSelfSign(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		hostname, address string
		dns, ips          []string
	}{
		{"127.0.0.1", "127.0.0.1", nil, []string{"127.0.0.1"}},
		{"example.com", "192.0.2.1", []string{"example.com"}, []string{"192.0.2.1"}},
		{"2001:db8::1:0", "::", nil, []string{"2001:db8::1:0"}},
		{"localhost", "0.0.0.0", []string{"localhost"}, nil},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := SelfSign(dir, tc.hostname, tc.address, time.Now()); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf := s.Leaf()
		var ips []string
		for _, ip := range leaf.IPAddresses {
			ips = append(ips, ip.String())
		}
		if !reflect.DeepEqual(leaf.DNSNames, tc.dns) || !reflect.DeepEqual(ips, tc.ips) {
			t.Errorf("%s %s: names %q, addresses %q", tc.hostname, tc.address, leaf.DNSNames, ips)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.PEM())
		name := tc.hostname
		if net.ParseIP(name) != nil {
			name = "[" + name + "]"
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", tc.hostname, err)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(filepath.Join(dir, KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key: %v %v", info, err)
		}
	}
}

func TestExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if ok, err := Exists(dir); ok || err != nil {
		t.Errorf("empty: %v %v", ok, err)
	}
	if err := SelfSign(dir, "localhost", "127.0.0.1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if ok, err := Exists(dir); !ok || err != nil {
		t.Errorf("both: %v %v", ok, err)
	}
	if err := os.Remove(filepath.Join(dir, KeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Exists(dir); err == nil {
		t.Error("a certificate without its key would be overwritten")
	}
}

func TestHalfAPairIsNotTaken(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if err := SelfSign(d, "localhost", "127.0.0.1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := s.Leaf().SerialNumber
	ctx, cancel := context.WithCancel(context.Background())
	tick := make(chan time.Time)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx, tick) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	// The second tick is taken when the first has been dealt with.
	look := func() { tick <- time.Time{}; tick <- time.Time{} }
	take := func(name string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Minute)
		if err := os.Chtimes(filepath.Join(dir, name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	take(KeyFile)
	look()
	if s.Leaf().SerialNumber.Cmp(old) != 0 {
		t.Error("half a pair is in use")
	}
	take(CertFile)
	look()
	if s.Leaf().SerialNumber.Cmp(old) == 0 {
		t.Error("the new pair is not in use")
	}
}

func TestReplacedWhileItIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	renew := func() {
		t.Helper()
		if err := SelfSign(dir, "localhost", "127.0.0.1", time.Now()); err != nil {
			t.Error(err)
		}
	}
	renew()
	s, err := Open(dir, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	replaced := false
	s.read = func(certFile, keyFile string) (tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if !replaced {
			replaced = true
			renew()
		}
		return cert, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	tick := make(chan time.Time)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx, tick) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	renew()
	// Each tick is taken when the one before has been dealt with.
	for range 3 {
		tick <- time.Time{}
	}
	want, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if s.Leaf().SerialNumber.Cmp(want.Leaf.SerialNumber) != 0 {
		t.Error("the pair that came while the one before was read is never read")
	}
}

// TestGoodOneStays offers pairs that are worse than the one in use, and one that
// cannot be read at first.
func TestGoodOneStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sign := func(at time.Time) {
		t.Helper()
		if err := SelfSign(dir, "localhost", "127.0.0.1", at); err != nil {
			t.Error(err)
		}
	}
	var clock atomic.Pointer[time.Time]
	set := func(now time.Time) { clock.Store(&now) }
	now := time.Now()
	set(now)
	sign(now)
	s, err := Open(dir, slog.New(slog.DiscardHandler), func() time.Time { return *clock.Load() })
	if err != nil {
		t.Fatal(err)
	}
	var unreadable atomic.Bool
	s.read = func(certFile, keyFile string) (tls.Certificate, error) {
		if unreadable.Load() {
			return tls.Certificate{}, os.ErrPermission
		}
		return tls.LoadX509KeyPair(certFile, keyFile)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tick := make(chan time.Time)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx, tick) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	// The second tick is taken when the first has been dealt with.
	look := func() *big.Int { tick <- time.Time{}; tick <- time.Time{}; return s.Leaf().SerialNumber }
	first := s.Leaf().SerialNumber
	sign(now.Add(-2 * selfSignedLife))
	if look().Cmp(first) != 0 {
		t.Error("one that has expired is in use")
	}
	sign(now.Add(24 * time.Hour))
	if look().Cmp(first) != 0 {
		t.Error("one that is not good yet is in use")
	}
	set(now.Add(24 * time.Hour))
	second := look()
	if second.Cmp(first) == 0 {
		t.Error("the same one, when its time has come, is not")
	}
	unreadable.Store(true)
	sign(now.Add(25 * time.Hour))
	if look().Cmp(second) != 0 {
		t.Error("one that cannot be read is in use")
	}
	unreadable.Store(false)
	set(now.Add(25 * time.Hour))
	if look().Cmp(second) == 0 {
		t.Error("it can be read now, and is not")
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := SelfSign(dir, "localhost", "127.0.0.1", time.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, slog.New(slog.DiscardHandler), func() time.Time { return time.Now().Add(selfSignedLife + time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	if s.Check() == nil {
		t.Error("an expired certificate is good")
	}
}

func TestServerURL(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"https://example.com:6443/authenticate":     ServerURL("example.com", 6443),
		"https://[2001:db8::1:0]:1234/authenticate": ServerURL("2001:db8::1:0", 1234),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
