package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/render"
	"github.com/capiam/capiam/pkg/spec"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/test/programs"
)

const region = "us-west-2"

// The accounts, each with a token issuer.
const (
	account         = "111122223333"
	rotatingAccount = "444455556666"
	silentAccount   = "123456789012"
)

// world is a control plane, an authenticator and a simulated STS.
type world struct {
	// whole is the test, and t the step of it that is under way; see step.
	whole, t *testing.T

	bin    string
	layout local.Layout
	record *local.Record

	state *stssim.State
	// sts is what the authenticator reaches. Whoever wants a token reaches
	// another one, which never fails.
	sts   *stssim.Server
	proxy *stssim.Proxy
	mint  *http.Client
	// link is what the authenticator reaches the API server by.
	link *link

	plane         *process
	authenticator *process

	kube    kubernetes.Interface
	cluster login.Cluster
	// sessions counts the sessions of roles: no two logins have the same token.
	sessions atomic.Int64
}

// newWorld starts a control plane, maps the people of everybody, and starts the
// authenticator.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := newPlane(t)
	w.setAWSAuth(table(everybody()...))
	w.startAuthenticator()
	return w
}

// step runs a part of the test under a name of its own. What is started in it
// goes on after it.
func (w *world) step(name string, run func(t *testing.T)) {
	w.t.Helper()
	w.whole.Run(name, func(t *testing.T) {
		w.t = t
		defer func() { w.t = w.whole }()
		run(t)
	})
}

// newPlane starts a control plane with what the authenticator needs in it, but
// no authenticator. Its backend is EKSConfigMap if none is named.
func newPlane(t *testing.T, backends ...string) *world {
	t.Helper()
	w := &world{whole: t, t: t, bin: programs.Dir(t, "capiam-local", "capiam-authenticator")}
	if len(backends) == 0 {
		backends = []string{v1alpha1.BackendEKSConfigMap}
	}
	if err := planesAtOnce.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { planesAtOnce.Release(1) })
	w.makeRecord(backends)
	w.startSTS()
	w.startPlane()
	w.makeClients()
	w.install()
	return w
}

func (w *world) makeRecord(backends []string) {
	w.t.Helper()
	// The name of the test would make the paths of sockets too long.
	root, err := os.MkdirTemp("", "capiam-faults-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			w.t.Error(err)
		}
	})
	store := &local.Store{Root: root}
	w.layout = store.Layout("faults")
	ports, err := store.ChoosePorts(0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.record = &local.Record{
		Name: "faults", ClusterID: "faults", Partition: "aws", Region: region,
		BackendMode: backends, Ports: ports,
	}
	if err := local.WriteRecord(w.layout, w.record); err != nil {
		w.t.Fatal(err)
	}
	if _, err := local.EnsureKeys(w.layout, w.record, time.Now); err != nil {
		w.t.Fatal(err)
	}
	// The authenticator goes by the link.
	w.link = newLink(w.t, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.APIServer)))
	path := w.layout.Authenticator("kubeconfig.yaml")
	file, err := clientcmd.LoadFromFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, cluster := range file.Clusters {
		cluster.Server = "https://" + w.link.addr
	}
	if _, err := kubeconfig.WriteFile(path, file); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) startSTS() {
	w.t.Helper()
	var err error
	if w.state, err = stssim.NewState(stssim.StateOptions{Partition: w.record.Partition}); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(w.layout.STSCA()), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if _, err := atomicfile.Write(w.layout.STSCA(), w.state.CAPEM(), atomicfile.Private); err != nil {
		w.t.Fatal(err)
	}
	w.sts = stssim.New(w.state, stssim.Options{})
	w.mint = &http.Client{Transport: inProcess{stssim.New(w.state, stssim.Options{})}}
	w.openProxy()
	w.t.Cleanup(func() {
		if err := w.proxy.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) openProxy() {
	w.t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(w.record.Ports.STSProxy))
	proxy, err := stssim.ListenProxy(context.WithoutCancel(w.t.Context()), w.sts, addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy = proxy
}

// startPlane starts etcd and kube-apiserver and waits until they are ready.
func (w *world) startPlane() {
	w.t.Helper()
	w.plane = start(w.whole, w.layout.Log("control-plane"), os.Environ(),
		filepath.Join(w.bin, "capiam-local"), "bare", "--dir", w.layout.Dir)
	client, err := local.AdminHTTPClient(w.layout)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	eventually(w.t, "the API server is ready", func(ctx context.Context) bool {
		if !w.plane.running() {
			w.t.Fatalf("the control plane has ended: %v", w.plane.err)
		}
		return answers(ctx, client, w.record.APIServerURL()+"/readyz")
	})
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (w *world) adminConfig() *rest.Config {
	return &rest.Config{
		Host: w.record.APIServerURL(), QPS: -1, Timeout: 30 * time.Second,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: w.layout.PKI("ca.crt"), CertFile: w.layout.PKI("admin.crt"), KeyFile: w.layout.PKI("admin.key"),
		},
	}
}

func (w *world) makeClients() {
	w.t.Helper()
	var err error
	if w.kube, err = kubernetes.NewForConfig(w.adminConfig()); err != nil {
		w.t.Fatal(err)
	}
	ca, err := os.ReadFile(w.layout.PKI("ca.crt"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.cluster = login.Cluster{Server: w.record.APIServerURL(), CAPEM: ca, Timeout: patience}
}

// input is what a cluster with these issuers is rendered from.
func (w *world) input() render.Input {
	var issuers []v1alpha1.TokenIssuer
	for _, a := range []string{account, rotatingAccount, silentAccount} {
		issuers = append(issuers, v1alpha1.TokenIssuer{IssuerURL: w.state.IssuerURL(a), AccountID: a})
	}
	return render.Input{
		Spec: &spec.Spec{Name: w.record.Name, Cluster: &v1alpha1.Cluster{}, IAM: &v1alpha1.AWSIamConfig{Spec: v1alpha1.AWSIamConfigSpec{
			AWSRegion: region, Partition: w.record.Partition, BackendMode: w.record.BackendMode, ClusterID: w.record.ClusterID,
			Tokens:       []string{v1alpha1.TokenPresigned, v1alpha1.TokenJWT},
			TokenIssuers: issuers,
			Server:       v1alpha1.ServerSpec{Implementation: v1alpha1.ImplementationCapiam, Image: "registry.example.com/authenticator:v1"},
			Client:       v1alpha1.ClientSpec{Command: v1alpha1.ClientCapiam},
		}}},
		Webhook: render.Webhook{CAPEM: []byte("ca"), Leaf: pki.KeyPair{CertPEM: []byte("cert"), KeyPEM: []byte("key")}},
	}
}

// install gives the authenticator its configuration, and its rights to the API
// server: those that the chart gives.
func (w *world) install() {
	w.t.Helper()
	out, err := render.Render(w.input())
	if err != nil {
		w.t.Fatal(err)
	}
	installer, err := install.New(w.adminConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	// kube-apiserver makes the namespace soon after it is ready.
	eventually(w.t, "the authenticator's objects are applied", func(ctx context.Context) bool {
		err = installer.Apply(ctx, append(slices.Clone(out.CRDs), out.Release...)...)
		return err == nil
	})
	file, err := render.ServerConfig(w.input())
	if err != nil {
		w.t.Fatal(err)
	}
	w.writeConfig(file)
}

func (w *world) writeConfig(file *config.File) {
	w.t.Helper()
	data, err := file.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := atomicfile.Write(w.layout.AuthenticatorConfig(), data, atomicfile.Private); err != nil {
		w.t.Fatal(err)
	}
}

// startAuthenticator starts the authenticator and waits until it is ready.
func (w *world) startAuthenticator(args ...string) {
	w.t.Helper()
	w.launchAuthenticator(args...)
	eventually(w.t, "the authenticator is ready", func(ctx context.Context) bool {
		if !w.authenticator.running() {
			w.t.Fatalf("the authenticator has ended: %v", w.authenticator.err)
		}
		code, _, err := w.get(ctx, "/readyz")
		return err == nil && code == http.StatusOK
	})
}

// launchAuthenticator starts the authenticator as capiam-local would.
func (w *world) launchAuthenticator(args ...string) {
	w.t.Helper()
	env := append(os.Environ(),
		"HTTPS_PROXY="+w.record.STSProxyURL(),
		"NO_PROXY=127.0.0.1,localhost",
		"SSL_CERT_FILE="+w.layout.STSCA(),
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_REGION="+w.record.Region,
	)
	w.authenticator = start(w.whole, w.layout.Log("authenticator"), env,
		filepath.Join(w.bin, "capiam-authenticator"), append(w.record.AuthenticatorArgs(w.layout), args...)...)
}

// inProcess answers requests by a handler.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	r = r.Clone(r.Context())
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func (w *world) webhookURL() string { return w.record.WebhookURL() }

func (w *world) healthURL(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", w.record.Ports.AuthenticatorHealth, path)
}
