package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/workflow"
)

// cluster is a local cluster of a machine.
type cluster struct {
	m      *machine
	name   string
	layout local.Layout
	// dir holds the files for its users.
	dir string
}

// cluster returns a cluster by its name, made in the working directory.
func (m *machine) cluster(name string) *cluster {
	return &cluster{
		m: m, name: name,
		layout: local.Layout{Dir: filepath.Join(m.data, "capiam", "clusters", name)},
		dir:    filepath.Join(m.work, name),
	}
}

// create runs capiam create cluster and returns its answer.
func (c *cluster) create(spec string) workflow.CreateResult {
	c.m.t.Helper()
	var made workflow.CreateResult
	c.m.capiam("create", "cluster", "-f", spec, "-o", "json").decode(c.m.t, &made)
	return made
}

// upgrade runs capiam upgrade cluster and returns its answer.
func (c *cluster) upgrade(spec string) workflow.UpgradeResult {
	c.m.t.Helper()
	var changed workflow.UpgradeResult
	c.m.capiam("upgrade", "cluster", "-f", spec, "-o", "json").decode(c.m.t, &changed)
	return changed
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) users() string { return c.file(c.name + "-aws.kubeconfig") }

func (c *cluster) admin() string { return c.file(c.name + "-eks-a-cluster.kubeconfig") }

func (c *cluster) record() *local.Record {
	c.m.t.Helper()
	record, err := local.ReadRecord(c.layout)
	if err != nil {
		c.m.t.Fatal(err)
	}
	return record
}

// status asks the supervisor.
func (c *cluster) status() (*local.Status, error) {
	return local.NewControl(c.layout).Status(context.Background())
}

// component is a part of the cluster that runs.
func (c *cluster) component(name string) (local.ComponentStatus, error) {
	status, err := c.status()
	if err != nil {
		return local.ComponentStatus{}, err
	}
	for _, part := range status.Components {
		if part.Name == name && part.State == local.StateRunning && part.PID != 0 {
			return part, nil
		}
	}
	return local.ComponentStatus{}, fmt.Errorf("%s does not run", name)
}

// faults makes the simulated STS misbehave, until it is told otherwise.
func (c *cluster) faults(faults ...stssim.Fault) {
	c.m.t.Helper()
	body, err := json.Marshal(append(stssim.Faults{}, faults...))
	if err != nil {
		c.m.t.Fatal(err)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.layout.ControlSocket())
		},
	}}
	resp, err := client.Post("http://capiam-local"+local.PathFaults, "application/json", strings.NewReader(string(body)))
	if err != nil {
		c.m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		c.m.t.Fatalf("set faults: %s", resp.Status)
	}
}

// config connects as the administrator, with the file capiam wrote.
func (c *cluster) config() *rest.Config {
	c.m.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.admin())
	if err != nil {
		c.m.t.Fatal(err)
	}
	config.QPS = -1
	config.Timeout = patience
	return config
}

func (c *cluster) clients() *kubernetes.Clientset {
	c.m.t.Helper()
	clients, err := kubernetes.NewForConfig(c.config())
	if err != nil {
		c.m.t.Fatal(err)
	}
	return clients
}

func (c *cluster) awsAuth() *corev1.ConfigMap {
	c.m.t.Helper()
	live, err := c.clients().CoreV1().ConfigMaps("kube-system").Get(c.m.t.Context(), "aws-auth", metav1.GetOptions{})
	if err != nil {
		c.m.t.Fatal(err)
	}
	return live
}

// gone checks that a deleted cluster has left nothing.
func (c *cluster) gone() {
	c.m.t.Helper()
	for _, path := range []string{c.layout.Dir, c.dir, filepath.Dir(c.layout.ControlSocket())} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			c.m.t.Errorf("%s is still there (%v)", path, err)
		}
	}
	for _, p := range c.m.processes() {
		if strings.Contains(p.command, c.layout.Dir) {
			c.m.t.Errorf("still there: %s", p)
		}
	}
}

// example is one of the repository's specs.
func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replace edits a spec.
func replace(t *testing.T, text, old, with string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("want %q once in:\n%s", old, text)
	}
	return strings.Replace(text, old, with, 1)
}

// freePort is a loopback port that nobody has at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// loginsOf sums logins up, "profile token username groups" or "profile token
// refused" each, sorted.
func loginsOf(logins []workflow.Login) []string {
	var all []string
	for _, l := range logins {
		line := fmt.Sprintf("%s %s %s %s", l.Profile, l.Token, l.Username, strings.Join(l.Groups, ","))
		if l.Refused {
			line = fmt.Sprintf("%s %s refused", l.Profile, l.Token)
		}
		all = append(all, strings.TrimSpace(line))
	}
	slices.Sort(all)
	return all
}

// wantLogins compares what a command says about logins.
func wantLogins(t *testing.T, got []workflow.Login, want ...string) {
	t.Helper()
	slices.Sort(want)
	if lines := loginsOf(got); !slices.Equal(lines, want) {
		t.Errorf("logins:\n  %s\nwant:\n  %s", strings.Join(lines, "\n  "), strings.Join(want, "\n  "))
	}
}
