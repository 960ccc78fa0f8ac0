package management

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/pki"
)

// manager is a provider's manager, with the ports it gets.
type manager struct {
	*Provider
	certDir string
	ports   *ports
}

func newManager(p *Provider, certDir string) (*manager, error) {
	ports, err := choosePorts()
	if err != nil {
		return nil, err
	}
	return &manager{Provider: p, certDir: certDir, ports: ports}, nil
}

// command is how the manager is called. All gates are known to all managers.
func (m *manager) command() []string {
	return append(slices.Clone(m.Command),
		"--webhook-port="+strconv.Itoa(m.ports.webhook()),
		"--webhook-cert-dir="+m.certDir,
		"--health-addr="+loopback(m.ports.health()),
		"--diagnostics-address="+loopback(m.ports.diagnostics()),
		"--insecure-diagnostics",
		"--feature-gates=ClusterTopology=true",
	)
}

// ready is nil once the manager runs its webhooks, and so its controllers.
func (m *manager) ready(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	return answers(ctx, client, "http://"+loopback(m.ports.health())+"/readyz")
}

// webhookCertificate makes the certificate of all webhooks, and returns the CA
// that signed it and the directory it lies in.
func (m *Management) webhookCertificate() (caPEM []byte, dir string, err error) {
	certPEM, err := os.ReadFile(m.layout.PKI("ca.crt"))
	if err != nil {
		return nil, "", err
	}
	keyPEM, err := os.ReadFile(m.layout.PKI("ca.key"))
	if err != nil {
		return nil, "", err
	}
	ca, err := pki.LoadCA(certPEM, keyPEM)
	if err != nil {
		return nil, "", err
	}
	pair, err := ca.Issue(pki.LeafOptions{
		CommonName: "webhooks", IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, "", err
	}
	dir = filepath.Join(m.layout.Dir, "webhooks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	if _, err := atomicfile.Write(filepath.Join(dir, "tls.key"), pair.KeyPEM, atomicfile.Private); err != nil {
		return nil, "", err
	}
	_, err = atomicfile.Write(filepath.Join(dir, "tls.crt"), pair.CertPEM, atomicfile.Private)
	return ca.CertPEM, dir, err
}

// ports are those of a manager, kept open until it starts.
type ports struct{ open [3]net.Listener }

func (p *ports) webhook() int     { return p.port(0) }
func (p *ports) health() int      { return p.port(1) }
func (p *ports) diagnostics() int { return p.port(2) }

func (p *ports) port(i int) int { return p.open[i].Addr().(*net.TCPAddr).Port }

func (p *ports) release() {
	for _, l := range p.open {
		if l != nil {
			_ = l.Close()
		}
	}
}

// Ports are taken from below those that the kernel gives to connections (32768
// and up on Linux), so that none is taken between the choice and the start, and
// away from those of the in-memory provider.
const (
	lowestPort = 10000
	portRange  = 8000
)

// choosePorts finds free ports. They must be free on all addresses, as webhooks
// listen on all.
func choosePorts() (*ports, error) {
	p := &ports{}
	const attempts = 100
	for i := range p.open {
		var err error
		for range attempts {
			addr := net.JoinHostPort("", strconv.Itoa(lowestPort+rand.IntN(portRange)))
			if p.open[i], err = net.Listen("tcp", addr); err == nil {
				break
			}
			p.open[i] = nil
		}
		if err != nil {
			p.release()
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	return p, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
