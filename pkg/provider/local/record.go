package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// KubernetesVersion is the version of Kubernetes that capiam-local embeds, and
// so the one version a local cluster has.
const KubernetesVersion = "v1.36.3"

// Record describes one local cluster. It is written by the command line and
// read by the supervisor; the supervisor never changes it.
type Record struct {
	// Name is the cluster's name, and Namespace that of its spec objects.
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	// ClusterID is what tokens for the cluster are made for.
	ClusterID string `json:"clusterID"`
	Partition string `json:"partition"`
	Region    string `json:"region"`
	// BackendMode is the authenticator's list of backends.
	BackendMode []string `json:"backendMode"`
	// OutputDir is the directory that users' files were written to, absolute.
	OutputDir string `json:"outputDir"`
	// ServiceCIDRs are the address ranges of Services.
	ServiceCIDRs []string `json:"serviceCIDRs,omitempty"`
	// Ports are loopback ports, chosen when the cluster was made and kept.
	Ports Ports `json:"ports"`
	// Created is when the cluster was made; Completed when its first create
	// ended well, or zero.
	Created   time.Time `json:"created"`
	Completed time.Time `json:"completed,omitzero"`
	// LastChange is the newest change of the mappings.
	LastChange *Change `json:"lastChange,omitempty"`
}

// Ports are the loopback ports of a cluster.
type Ports struct {
	APIServer           int `json:"apiServer"`
	ControllerManager   int `json:"controllerManager"`
	Authenticator       int `json:"authenticator"`
	AuthenticatorHealth int `json:"authenticatorHealth"`
	STSProxy            int `json:"stsProxy"`
}

// Change says what a command last did to the mappings.
type Change struct {
	At      time.Time `json:"at"`
	Command string    `json:"command"`
	Lines   []string  `json:"lines,omitempty"`
}

// ErrNotFound is returned for a cluster that does not exist.
var ErrNotFound = errors.New("no such local cluster")

// APIServerURL is where the cluster's API server answers.
func (r *Record) APIServerURL() string {
	return fmt.Sprintf("https://127.0.0.1:%d", r.Ports.APIServer)
}

// WebhookURL is where the API server asks the authenticator.
func (r *Record) WebhookURL() string {
	return fmt.Sprintf("https://localhost:%d/authenticate", r.Ports.Authenticator)
}

// STSProxyURL is the proxy that leads to the simulated STS.
func (r *Record) STSProxyURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d", r.Ports.STSProxy)
}

// Store finds the clusters below one directory.
type Store struct {
	// Root is the directory that holds a directory for each cluster.
	Root string
}

// NewStore returns the user's own store, see Root.
func NewStore() (*Store, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return &Store{Root: root}, nil
}

// Layout returns where a cluster's files lie, whether it exists or not.
func (s *Store) Layout(name string) Layout {
	return Layout{Dir: filepath.Join(s.Root, name)}
}

// Get reads a cluster's record. The error is ErrNotFound if there is none.
func (s *Store) Get(name string) (*Record, error) {
	return ReadRecord(s.Layout(name))
}

// List returns the records of all clusters, by name. A directory whose record
// cannot be read is left out and named in the error, beside the others.
func (s *Store) List() ([]*Record, error) {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list local clusters: %w", err)
	}
	var records []*Record
	var problems []error
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		record, err := s.Get(entry.Name())
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			problems = append(problems, err)
		default:
			records = append(records, record)
		}
	}
	slices.SortFunc(records, func(a, b *Record) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return records, errors.Join(problems...)
}

// ReadRecord reads the record in a cluster's directory.
func ReadRecord(l Layout) (*Record, error) {
	data, err := os.ReadFile(l.Record())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q: %w", filepath.Base(l.Dir), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", filepath.Base(l.Dir), err)
	}
	record := &Record{}
	if err := json.Unmarshal(data, record); err != nil {
		return nil, fmt.Errorf("cluster %q: %s is damaged: %w (delete the cluster with --force and create it again)", filepath.Base(l.Dir), l.Record(), err)
	}
	return record, nil
}

// WriteRecord writes the record atomically.
func WriteRecord(l Layout, record *Record) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster record: %w", err)
	}
	_, err = atomicfile.Write(l.Record(), append(data, '\n'), atomicfile.Private)
	return err
}

// AuthenticatorArgs are the arguments of the authenticator beside the cluster:
// those its pods get, but for ports and paths.
func (r *Record) AuthenticatorArgs(l Layout) []string {
	return []string{
		"server",
		"--backend-mode=" + strings.Join(r.BackendMode, ","),
		"--partition=" + r.Partition,
		"--config=" + l.AuthenticatorConfig(),
		"--state-dir=" + l.Authenticator(""),
		"--kubeconfig=" + l.Authenticator("kubeconfig.yaml"),
		"--generate-kubeconfig=" + l.Webhook(),
		"--kubeconfig-pregenerated=true",
		"--address=127.0.0.1",
		fmt.Sprintf("--port=%d", r.Ports.Authenticator),
		fmt.Sprintf("--health-port=%d", r.Ports.AuthenticatorHealth),
	}
}
