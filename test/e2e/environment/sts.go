package environment

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/test/e2e/machines"
)

// Account and Region are where the simulated identities live.
const (
	Account = "111122223333"
	Region  = "eu-west-1"
)

// STS is the simulated STS of a lab. Machines reach it under its real names by
// /etc/hosts, and containers on them trust its certificate authority; programs
// in the lab itself go through a proxy, as on a local cluster.
type STS struct {
	State  *stssim.State
	Server *stssim.Server

	dir      string
	proxy    *stssim.Proxy
	listener *stssim.Listener
	front    net.Listener
	done     sync.WaitGroup

	mu       sync.Mutex
	profiles []stssim.Profile
	stopped  bool
	open     map[net.Conn]bool
}

func startSTS(lab *machines.Lab) (_ *STS, err error) {
	s := &STS{dir: filepath.Join(lab.Dir(), "x-aws"), open: map[net.Conn]bool{}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.State, err = stssim.NewState(stssim.StateOptions{Partition: "aws", Regions: []string{Region}}); err != nil {
		return nil, err
	}
	s.Server = stssim.New(s.State, stssim.Options{})
	ctx := context.Background()
	if s.proxy, err = stssim.ListenProxy(ctx, s.Server, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if s.listener, err = stssim.Listen(ctx, s.Server, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	// The simulation serves loopback addresses alone, and machines have none of
	// the lab's.
	if s.front, err = net.Listen("tcp", net.JoinHostPort(machines.Gateway, "443")); err != nil {
		return nil, err
	}
	s.done.Go(s.forward)
	s.State.IssuerURL(Account)
	var hosts strings.Builder
	for _, name := range s.Server.Names() {
		fmt.Fprintln(&hosts, machines.Gateway, name)
	}
	if err := lab.SetHosts(hosts.String()); err != nil {
		return nil, err
	}
	if err := lab.SetTrust(s.State.CAPEM()); err != nil {
		return nil, err
	}
	_, err = atomicfile.Write(s.caFile(), s.State.CAPEM(), 0o644)
	return s, err
}

func (s *STS) caFile() string { return filepath.Join(s.dir, "ca.pem") }

// forward carries connections from the machines to the simulation.
func (s *STS) forward() {
	for {
		from, err := s.front.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			_ = from.Close()
			continue
		}
		s.keep(from, to)
		s.done.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { carry(to, from) })
			both.Go(func() { carry(from, to) })
			both.Wait()
			s.let(from, to)
		})
	}
}

// keep remembers connections, because those of a machine that was killed end
// with nothing but stop.
func (s *STS) keep(connections ...net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range connections {
		if s.stopped {
			_ = c.Close()
		}
		s.open[c] = true
	}
}

func (s *STS) let(connections ...net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range connections {
		_ = c.Close()
		delete(s.open, c)
	}
}

// carry copies until the source ends, and ends the destination's input with it.
func carry(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either side may go away
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

func (s *STS) stop() {
	if s.front != nil {
		_ = s.front.Close()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.proxy != nil {
		_ = s.proxy.Close()
	}
	s.mu.Lock()
	s.stopped = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// Profile makes an identity exist and its credentials known under the name of a
// profile, for programs that run with Environment.Env.
func (s *STS) Profile(name, arn string) error {
	parsed, err := iam.ParseARN(arn)
	if err != nil {
		return err
	}
	credentials := s.State.Ensure(stssim.Identity{Profile: name, ARN: parsed})
	if credentials == nil {
		return fmt.Errorf("%s gets no credentials", arn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Every test makes its own known, in one environment.
	s.profiles = slices.DeleteFunc(s.profiles, func(p stssim.Profile) bool { return p.Name == name })
	s.profiles = append(s.profiles, stssim.Profile{Name: name, Region: Region, Credentials: *credentials})
	return stssim.WriteProfiles(s.dir, s.profiles)
}

// credentials are those of a profile.
func (s *STS) credentials(profile string) (stssim.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.profiles {
		if p.Name == profile {
			return p.Credentials, nil
		}
	}
	return stssim.Credentials{}, fmt.Errorf("no profile %q", profile)
}

// env leads AWS's clients to the simulation.
func (s *STS) env() []string {
	return []string{
		"AWS_CONFIG_FILE=" + filepath.Join(s.dir, stssim.ConfigFile),
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(s.dir, stssim.CredentialsFile),
		"AWS_CA_BUNDLE=" + s.caFile(), "AWS_EC2_METADATA_DISABLED=true",
		"AWS_REGION=" + Region, "AWS_STS_REGIONAL_ENDPOINTS=regional",
		"HTTPS_PROXY=" + s.proxy.URL(), "NO_PROXY=127.0.0.1,localhost,172.30.0.0/24",
	}
}
