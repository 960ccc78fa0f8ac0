package workflow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/tree"
)

// Summary is one line about a cluster.
type Summary struct {
	Name string `json:"name"`
	// Namespace is that of Cluster API's Cluster; empty on this machine.
	Namespace  string    `json:"namespace,omitempty"`
	Provider   string    `json:"provider"`
	Status     string    `json:"status"`
	Kubernetes string    `json:"kubernetes"`
	Server     string    `json:"server"`
	Created    time.Time `json:"created"`
}

// States of a cluster in a Summary.
const (
	StatusReady      = "Ready"
	StatusStarting   = "Starting"
	StatusStopped    = "Stopped"
	StatusIncomplete = "Incomplete"
)

// List returns a line about every cluster, by name.
func (m *Manager) List(ctx context.Context) ([]Summary, error) {
	records, err := m.Store.List()
	summaries := make([]Summary, 0, len(records))
	for _, r := range records {
		s := Summary{
			Name: r.Name, Provider: "local", Kubernetes: local.KubernetesVersion,
			Server: r.APIServerURL(), Created: r.Created, Status: StatusStopped,
		}
		layout := m.Store.Layout(r.Name)
		running, runErr := local.Running(layout)
		err = errors.Join(err, runErr)
		if running {
			s.Status = StatusStarting
			if status, statusErr := local.NewControl(layout).Status(ctx); statusErr == nil && status.Ready {
				s.Status = StatusReady
			}
		}
		if r.Completed.IsZero() {
			s.Status = StatusIncomplete
		}
		summaries = append(summaries, s)
	}
	return summaries, err
}

// checkName refuses what cannot be a cluster's name. It would be looked for, or
// removed, as a path.
func checkName(name string) error {
	if message := v1alpha1.CheckClusterName(name); message != "" {
		return fmt.Errorf("cluster name: %s", message)
	}
	return nil
}

// open finds a cluster by its name alone.
func (m *Manager) open(name string) (*localCluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	c := m.localCluster(name, nil)
	record, err := local.ReadRecord(c.layout)
	if notFound(err) {
		return nil, fmt.Errorf("%w (capiam get clusters lists those there are)", err)
	}
	if err != nil {
		return nil, err
	}
	c.record, c.outputs = record, outputsOf(record)
	return c, nil
}

// Outputs returns where a cluster's files for people are.
func (m *Manager) Outputs(name string) (Outputs, error) {
	c, err := m.open(name)
	if err != nil {
		return Outputs{}, err
	}
	return c.outputs, nil
}

// Names returns the names of all clusters, for completion.
func (m *Manager) Names() []string {
	records, _ := m.Store.List() // completion says nothing of damaged ones
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Name
	}
	return names
}

// Mappings returns who may log in to a cluster, as it is now.
func (m *Manager) Mappings(ctx context.Context, name string) ([]install.Mapping, error) {
	c, err := m.open(name)
	if err != nil {
		return nil, err
	}
	if err := c.requireRunning(); err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c.installer.Mappings(ctx, c.record.BackendMode)
}

func (c *localCluster) requireRunning() error {
	running, err := local.Running(c.layout)
	if err == nil && !running {
		return fmt.Errorf("cluster %q is stopped; start it with: capiam create cluster -f FILE", c.record.Name)
	}
	return err
}

// Describe returns how a cluster is, as a tree.
func (m *Manager) Describe(ctx context.Context, name string) (*tree.Node, error) {
	c, err := m.open(name)
	if err != nil {
		return nil, err
	}
	status, statusErr := local.NewControl(c.layout).Status(ctx)
	parts := []tree.Node{
		c.describeControlPlane(status),
		c.describeWebhook(ctx),
		c.describeAuthenticator(ctx, status),
		c.describeCertificates(),
		c.describeMappings(ctx),
		describeChange(c.record),
	}
	root := &tree.Node{Name: "Cluster/" + name, Parts: parts, Detail: "local, cluster ID " + c.record.ClusterID}
	ready := statusErr == nil
	for _, part := range parts {
		ready = ready && (part.Ready == nil || *part.Ready)
	}
	root.Ready = &ready
	return root, nil
}

func (c *localCluster) describeControlPlane(status *local.Status) tree.Node {
	n := tree.Node{Name: "ControlPlane", Ready: tree.Is(false), Detail: "stopped"}
	if status == nil || status.PID == 0 {
		return n
	}
	n.Ready, n.Detail = tree.Is(status.Ready), c.record.APIServerURL()
	if client, err := discovery.NewDiscoveryClientForConfig(adminConfig(c.layout, c.record)); err == nil {
		var v *version.Info
		if v, err = client.ServerVersion(); err == nil {
			n.Detail += ", Kubernetes " + v.GitVersion
		}
	}
	for _, part := range status.Components {
		detail := part.State
		if part.PID != 0 {
			detail += fmt.Sprintf(", pid %d", part.PID)
		}
		if part.Restarts > 0 {
			detail += fmt.Sprintf(", %d restarts", part.Restarts)
		}
		if part.State != local.StateRunning && part.LastError != "" {
			detail += ", last error: " + part.LastError
		}
		n.Parts = append(n.Parts, tree.Node{Name: part.Name, Ready: tree.Is(part.State == local.StateRunning), Detail: detail})
		*n.Ready = *n.Ready && part.State == local.StateRunning
	}
	return n
}

// describeWebhook says whether the API server's webhook would be answered.
func (c *localCluster) describeWebhook(ctx context.Context) tree.Node {
	n := tree.Node{Name: "Webhook", Ready: tree.Is(false), Detail: c.record.WebhookURL()}
	caPEM, err := os.ReadFile(c.layout.PKI("webhook-ca.crt"))
	if err != nil {
		n.Detail += ": " + err.Error()
		return n
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	url := strings.TrimSuffix(c.record.WebhookURL(), "/authenticate") + "/healthz"
	if body, err := get(ctx, client, url); err != nil {
		n.Detail += ": " + firstLine(body, err)
		return n
	}
	n.Ready = tree.Is(true)
	n.Detail += ", certificate trusted"
	return n
}

func (c *localCluster) describeAuthenticator(ctx context.Context, status *local.Status) tree.Node {
	n := tree.Node{Name: "Authenticator", Ready: tree.Is(false), Detail: "not running"}
	if status == nil || status.PID == 0 {
		return n
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	body, err := get(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/readyz", c.record.Ports.AuthenticatorHealth))
	n.Ready = tree.Is(err == nil)
	n.Detail = "backends " + strings.Join(c.record.BackendMode, ",")
	if err != nil {
		n.Detail += ", " + notReady(body, err)
	}
	// It goes on with what was good, and so is ready; but somebody has to
	// mend what is not, or people will be shut out.
	for line := range strings.Lines(body) {
		if older, ok := strings.CutPrefix(strings.TrimSpace(line), "[+]"); ok && strings.Contains(older, "in force is something older") {
			n.Ready = tree.Is(false)
			n.Parts = append(n.Parts, tree.Node{Name: older, Ready: tree.Is(false)})
		}
	}
	return n
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// notReady picks out of an answer of /readyz what is amiss.
func notReady(body string, err error) string {
	for line := range strings.Lines(body) {
		if amiss, ok := strings.CutPrefix(strings.TrimSpace(line), "[-]"); ok {
			return amiss
		}
	}
	return firstLine(body, err)
}

func firstLine(body string, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	switch {
	case line != "":
		return line
	case err != nil:
		return err.Error()
	default:
		return "ok"
	}
}

func (c *localCluster) describeCertificates() tree.Node {
	n := tree.Node{Name: "Certificates"}
	ready := true
	for _, cert := range []struct{ name, path, ca string }{
		{"authenticator", c.layout.Authenticator("cert.pem"), c.layout.PKI("webhook-ca.crt")},
		{"authenticator CA", c.layout.PKI("webhook-ca.crt"), ""},
		{"kube-apiserver", c.layout.PKI("apiserver.crt"), c.layout.PKI("ca.crt")},
		{"cluster CA", c.layout.PKI("ca.crt"), ""},
	} {
		part := tree.Node{Name: cert.name}
		data, err := os.ReadFile(cert.path)
		if err == nil {
			var parsed *x509.Certificate
			if parsed, err = pki.ParseCert(data); err == nil {
				part.Ready = tree.Is(c.m.now().Before(parsed.NotAfter))
				part.Detail = "until " + parsed.NotAfter.Format(time.DateOnly)
				if cert.ca != "" {
					part.Detail += ", renewed from " + pki.RenewAt(parsed).Format(time.DateOnly)
				}
			}
		}
		if err != nil {
			part.Ready, part.Detail = tree.Is(false), err.Error()
		}
		ready = ready && *part.Ready
		n.Parts = append(n.Parts, part)
	}
	n.Ready = &ready
	return n
}

func (c *localCluster) describeMappings(ctx context.Context) tree.Node {
	n := tree.Node{Name: "Mappings", Ready: tree.Is(false)}
	if running, err := local.Running(c.layout); err != nil || !running {
		n.Detail = "not known while the cluster is stopped"
		return n
	}
	if err := c.connect(); err != nil {
		n.Detail = err.Error()
		return n
	}
	return describeMappings(ctx, c.installer, c.record.BackendMode)
}

func describeChange(r *local.Record) tree.Node {
	n := tree.Node{Name: "LastChange", Detail: "none since the cluster was created"}
	if r.LastChange == nil {
		return n
	}
	n.Detail = r.LastChange.At.Format(time.RFC3339) + " by " + r.LastChange.Command
	for _, line := range slices.Clone(r.LastChange.Lines) {
		n.Parts = append(n.Parts, tree.Node{Name: line})
	}
	return n
}
