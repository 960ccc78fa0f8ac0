package management

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/capiam/capiam/pkg/provider/local"
)

// startControlPlane starts etcd and kube-apiserver, and waits until it is ready.
func (m *Management) startControlPlane(ctx context.Context, bin string) error {
	command := []string{filepath.Join(bin, "capiam-local"), "bare", "--dir", m.layout.Dir}
	if err := m.run("control-plane", nil, command); err != nil {
		return err
	}
	return m.waitHTTPS(ctx, m.record.APIServerURL()+"/readyz")
}

// controllers are those that Cluster API needs: owned objects go with their
// owners, namespaces finish deleting, and service accounts get their tokens.
const controllers = "garbage-collector-controller,namespace-controller,serviceaccount-controller," +
	"serviceaccount-token-controller,clusterrole-aggregation-controller,root-ca-certificate-publisher-controller"

// startControllerManager starts kube-controller-manager, and waits until it is
// healthy.
func (m *Management) startControllerManager(ctx context.Context, bin string) error {
	file := m.layout.ControllerManager()
	port := m.record.Ports.ControllerManager
	command := []string{
		filepath.Join(bin, "capiam-local"), "kube-controller-manager",
		"--kubeconfig=" + file,
		"--authentication-kubeconfig=" + file,
		"--authorization-kubeconfig=" + file,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + m.layout.PKI("apiserver.crt"),
		"--tls-private-key-file=" + m.layout.PKI("apiserver.key"),
		"--leader-elect=false",
		"--controllers=" + controllers,
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + m.layout.PKI("sa.key"),
		"--root-ca-file=" + m.layout.PKI("ca.crt"),
	}
	if err := m.run("kube-controller-manager", nil, command); err != nil {
		return err
	}
	return m.waitHTTPS(ctx, fmt.Sprintf("https://127.0.0.1:%d/healthz", port))
}

// waitHTTPS waits until a part of the control plane answers 200 to its
// administrator.
func (m *Management) waitHTTPS(ctx context.Context, url string) error {
	client, err := local.AdminHTTPClient(m.layout)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	if err := m.Wait(ctx, func(ctx context.Context) error { return answers(ctx, client, url) }); err != nil {
		return fmt.Errorf("wait for %s: %w", url, err)
	}
	return nil
}

// answers asks for a page, and is nil for status 200.
func answers(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
