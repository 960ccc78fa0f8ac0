package management

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Options say what management cluster to run.
type Options struct {
	// Dir is where keys, data and logs lie. It is made if need be; the cluster
	// that an earlier Start left there goes on.
	Dir string
	// Bin is the directory of the programs, absolute, in which also the
	// manifests lie (ManifestsDir).
	Bin string
	// Infrastructure is the infrastructure provider; none if nil.
	Infrastructure *Provider
}

// Provider is one Cluster API provider.
type Provider struct {
	// Name is that of its log, and of its certificates' directory.
	Name string
	// Manifests is the file with the provider's CRDs and webhook
	// configurations, as capi-manifests writes it.
	Manifests string
	// Command is the manager with the arguments that come before those all
	// managers get. If empty, the provider's CRDs are installed, but nobody
	// works on the objects: so in a cluster that others are moved to.
	Command []string
	// Env is added to the environment, which is otherwise clean.
	Env []string
}

// ManifestsDir is the directory below Options.Bin with the manifests.
const ManifestsDir = "capi-manifests"

func manifests(bin, name string) string {
	return filepath.Join(bin, ManifestsDir, name+".yaml")
}

// InMemory is the provider whose machines run nothing: Cluster API's Docker
// provider with its in-memory backend (DevCluster, DevMachineTemplate).
func InMemory(bin string) *Provider {
	return Docker(bin, filepath.Join(bin, "capi-in-memory"))
}

// Docker is Cluster API's Docker provider (DockerCluster, DockerMachineTemplate
// and the Dev kinds), run by a command of the caller's that takes the flags of
// the provider's own manager; without a command, the CRDs alone.
func Docker(bin string, command ...string) *Provider {
	return &Provider{
		Name: "infrastructure-docker", Manifests: manifests(bin, "infrastructure-docker"), Command: command,
		// Where the in-memory backend listens.
		Env: []string{"POD_IP=127.0.0.1"},
	}
}

// core are the providers that every management cluster has.
func core(bin string) []*Provider {
	provider := func(name, program string) *Provider {
		return &Provider{Name: name, Manifests: manifests(bin, name), Command: []string{filepath.Join(bin, program)}}
	}
	return []*Provider{
		provider("cluster-api", "capi-core"),
		provider("bootstrap-kubeadm", "capi-kubeadm-bootstrap"),
		provider("control-plane-kubeadm", "capi-kubeadm-control-plane"),
	}
}

// providers are all the providers, after a look at whether what they need is
// there.
func (o Options) providers() ([]*Provider, error) {
	if o.Dir == "" || o.Bin == "" {
		return nil, errors.New("want a directory and the programs' directory")
	}
	if !filepath.IsAbs(o.Bin) {
		return nil, fmt.Errorf("the programs' directory %s is not absolute", o.Bin)
	}
	providers := core(o.Bin)
	if o.Infrastructure != nil {
		providers = append(providers, o.Infrastructure)
	}
	needed := []string{filepath.Join(o.Bin, "capiam-local"), manifests(o.Bin, "clusterctl")}
	for _, p := range providers {
		needed = append(needed, p.Manifests)
		if len(p.Command) > 0 && filepath.IsAbs(p.Command[0]) {
			needed = append(needed, p.Command[0])
		}
	}
	for _, path := range needed {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w (make build capi-managers makes it)", err)
		}
	}
	return providers, nil
}
