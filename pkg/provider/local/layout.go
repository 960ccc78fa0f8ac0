package local

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Root returns the directory all local clusters lie in:
// $XDG_DATA_HOME/capiam/clusters, or ~/.local/share/capiam/clusters.
//
// https://specifications.freedesktop.org/basedir-spec/latest/
func Root() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "capiam", "clusters"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w (set XDG_DATA_HOME)", err)
	}
	return filepath.Join(home, ".local", "share", "capiam", "clusters"), nil
}

// Layout names the files of one cluster's directory.
type Layout struct {
	// Dir is the cluster's directory, absolute.
	Dir string
}

// Record is the cluster's own description, see Record.
func (l Layout) Record() string { return filepath.Join(l.Dir, "cluster.json") }

// Lock is locked by the running supervisor.
func (l Layout) Lock() string { return filepath.Join(l.Dir, "supervisor.lock") }

// OperationLock is locked by a command that changes the cluster.
func (l Layout) OperationLock() string { return filepath.Join(l.Dir, "operation.lock") }

// PKI is a file in the directory of keys and certificates.
func (l Layout) PKI(name string) string { return filepath.Join(l.Dir, "pki", name) }

// Etcd is etcd's data directory.
func (l Layout) Etcd() string { return filepath.Join(l.Dir, "etcd") }

// Log is a component's log file.
func (l Layout) Log(component string) string { return filepath.Join(l.Dir, "logs", component+".log") }

// Webhook is the kubeconfig the API server finds the authenticator with.
func (l Layout) Webhook() string { return filepath.Join(l.Dir, "webhook", "kubeconfig.yaml") }

// Authenticator is a file in the authenticator's directory: config.yaml,
// kubeconfig.yaml, and the state directory's cert.pem and key.pem.
func (l Layout) Authenticator(name string) string {
	return filepath.Join(l.Dir, "authenticator", name)
}

// AuthenticatorConfig is the authenticator's configuration file.
func (l Layout) AuthenticatorConfig() string { return l.Authenticator("config.yaml") }

// ControllerManager is the controller manager's kubeconfig.
func (l Layout) ControllerManager() string {
	return filepath.Join(l.Dir, "controller-manager", "kubeconfig.yaml")
}

// STS is the state of the simulated STS: identities, issuers and their keys.
func (l Layout) STS() string { return filepath.Join(l.Dir, "sts", "state.json") }

// STSCA is the certificate of the CA that the simulated STS's names are signed
// by.
func (l Layout) STSCA() string { return filepath.Join(l.Dir, "sts", "ca.pem") }

// maxSocketPath keeps socket paths below the 104 bytes that the smallest
// sun_path (macOS's) holds.
const maxSocketPath = 100

// shortDir is where sockets go whose own directory is too deep. TMPDIR does not
// count: every command has to find them, whatever its environment.
const shortDir = "/tmp"

// sockets returns the directory for unix sockets: the cluster's own, or, if its
// path is too long for a socket, a private one below shortDir.
func (l Layout) sockets() string {
	if len(filepath.Join(l.Dir, "control.sock")) <= maxSocketPath {
		return l.Dir
	}
	sum := sha256.Sum256([]byte(l.Dir))
	return filepath.Join(shortDir, "capiam-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:8]))
}

// ControlSocket is where the supervisor is spoken to.
func (l Layout) ControlSocket() string { return filepath.Join(l.sockets(), "control.sock") }

// EtcdSocket is where etcd listens.
func (l Layout) EtcdSocket() string { return filepath.Join(l.sockets(), "etcd.sock") }

// EtcdPeerSocket is where etcd would listen to its peers, if it had any.
func (l Layout) EtcdPeerSocket() string { return filepath.Join(l.sockets(), "peer.sock") }

// PrepareSockets makes the directory of the sockets, and refuses one that
// somebody else could put sockets into.
func (l Layout) PrepareSockets() error {
	dir := l.sockets()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the socket directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("make the socket directory: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ownedByMe(info) {
		return fmt.Errorf("socket directory %s: it must be a directory of yours with mode 0700; remove it and try again", dir)
	}
	return nil
}
