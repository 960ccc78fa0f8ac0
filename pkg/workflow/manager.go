package workflow

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/kubeconfig"
	"github.com/capiam/capiam/pkg/progress"
	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/release"
)

// Manager runs workflows for one user of one machine.
type Manager struct {
	// Store holds the local clusters.
	Store *local.Store
	// Programs finds the programs a local cluster runs; local.FindPrograms.
	Programs func() (local.Programs, error)
	// Progress shows the steps; nil shows nothing.
	Progress *progress.Reporter
	// Management is where the management cluster is, for clusters that Cluster
	// API keeps.
	Management clusterapi.Access
	// WorkloadKubeconfig is a file that reaches such a cluster where the
	// kubeconfig that Cluster API keeps does not: from outside a network of
	// containers, say. Empty for Cluster API's.
	WorkloadKubeconfig string
	// OutputDir is the directory in which <cluster>/ is written with the files
	// users need; the working directory if empty.
	OutputDir string
	// Program is how users' kubeconfigs call capiam, an absolute path.
	Program string
	// Release pins images and clients; the built-in one if nil.
	Release *release.Manifest
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// ErrNameTaken is returned when a cluster of that name exists and is another
// one.
var ErrNameTaken = errors.New("the cluster name is taken")

func (m *Manager) now() time.Time {
	if m.Now != nil {
		return m.Now().UTC()
	}
	return time.Now().UTC()
}

func (m *Manager) progress() *progress.Reporter {
	if m.Progress == nil {
		return &progress.Reporter{}
	}
	return m.Progress
}

func (m *Manager) release() (*release.Manifest, error) {
	if m.Release != nil {
		return m.Release, nil
	}
	return release.Default()
}

// Outputs are the files a cluster's users are given.
type Outputs struct {
	// Dir is the directory that holds them all, absolute.
	Dir     string
	cluster string
}

// outputs returns where a cluster's files go.
func (m *Manager) outputs(cluster string) (Outputs, error) {
	dir, err := filepath.Abs(filepath.Join(m.OutputDir, cluster))
	if err != nil {
		return Outputs{}, fmt.Errorf("find the output directory: %w", err)
	}
	return Outputs{Dir: dir, cluster: cluster}, nil
}

func outputsOf(record *local.Record) Outputs {
	return Outputs{Dir: record.OutputDir, cluster: record.Name}
}

// User is the kubeconfig users log in with.
func (o Outputs) User() string { return filepath.Join(o.Dir, kubeconfig.UserFile(o.cluster)) }

// Admin is the administrator's kubeconfig, which does not need AWS.
func (o Outputs) Admin() string { return filepath.Join(o.Dir, kubeconfig.AdminFile(o.cluster)) }

// AWSConfig and AWSCredentials hold the profiles of a local cluster's
// identities.
func (o Outputs) AWSConfig() string { return filepath.Join(o.Dir, "aws-config") }

// AWSCredentials holds the secret half of the profiles.
func (o Outputs) AWSCredentials() string { return filepath.Join(o.Dir, "aws-credentials") }

func (o Outputs) all() []string {
	return []string{o.User(), o.Admin(), o.AWSConfig(), o.AWSCredentials()}
}

// haveProfiles tells whether the files with AWS profiles are there.
func (o Outputs) haveProfiles() bool {
	for _, path := range []string{o.AWSConfig(), o.AWSCredentials()} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// remove deletes the files, and their directory if nothing else is in it.
func (o Outputs) remove() error {
	err := o.removeFiles()
	removeEmpty([]string{o.Dir})
	return err
}

// removeKubeconfigs deletes the two files that every cluster has, and their
// directory if nothing else is in it.
func (o Outputs) removeKubeconfigs() error {
	err := removeFiles(o.Dir, []string{o.User(), o.Admin()})
	removeEmpty([]string{o.Dir})
	return err
}

func (o Outputs) removeFiles() error { return removeFiles(o.Dir, o.all()) }

func removeFiles(dir string, paths []string) error {
	var problems []error
	for _, path := range paths {
		// With what a killed process has left of writing one.
		left, _ := filepath.Glob(filepath.Join(dir, "."+filepath.Base(path)+".*"))
		for _, path := range append(left, path) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// madeDirs returns those of the directories, and of the ones above them, that do
// not exist: whoever makes them can remove them again in this order.
func madeDirs(dirs ...string) []string {
	var made []string
	for _, dir := range dirs {
		for {
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				break
			}
			made = append(made, dir)
			dir = filepath.Dir(dir)
		}
	}
	return made
}

// removeEmpty removes directories in this order. One that somebody keeps
// something in stays, rightly.
func removeEmpty(dirs []string) {
	for _, dir := range dirs {
		_ = os.Remove(dir)
	}
}

// checkWritable makes sure that files can be written into the directory,
// before anything else is done. It leaves nothing behind.
func (o Outputs) checkWritable() error {
	dir := o.Dir
	if made := madeDirs(dir); len(made) > 0 {
		dir = filepath.Dir(made[len(made)-1])
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("output directory %s: %w; use another with --output-dir", o.Dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("output directory %s: %s is not a directory; use another with --output-dir", o.Dir, dir)
	}
	probe, err := os.CreateTemp(dir, ".capiam-*")
	if err != nil {
		return fmt.Errorf("output directory %s cannot be written: %w; use another with --output-dir", o.Dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// adminConfig connects to a local cluster as its administrator.
func adminConfig(l local.Layout, record *local.Record) *rest.Config {
	return &rest.Config{
		Host: record.APIServerURL(),
		TLSClientConfig: rest.TLSClientConfig{
			CAFile:   l.PKI("ca.crt"),
			CertFile: l.PKI("admin.crt"),
			KeyFile:  l.PKI("admin.key"),
		},
		UserAgent: "capiam",
		// One user at one terminal: the client's own rate limit would only
		// slow the command down.
		QPS: -1,
	}
}
