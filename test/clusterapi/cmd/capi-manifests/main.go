// Command capi-manifests writes the CRDs and webhook configurations of the
// Cluster API providers that this module depends on, one file for each
// provider, for package management.
//
// They are built by kustomize from the providers' own modules, because only that
// adds the contract labels. Like `clusterctl init`, it marks the CRDs and adds
// each provider to clusterctl's inventory; Deployments and what else needs a
// cluster with nodes is left out.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// provider says where a provider's kustomization lies.
type provider struct {
	// name is that of clusterctl's inventory, and of the file.
	name, kind, module, dir string
}

const (
	clusterAPI     = "sigs.k8s.io/cluster-api"
	clusterAPITest = "sigs.k8s.io/cluster-api/test"
)

var providers = []provider{
	{name: "cluster-api", kind: "CoreProvider", module: clusterAPI, dir: "core/config/default"},
	{name: "bootstrap-kubeadm", kind: "BootstrapProvider", module: clusterAPI, dir: "bootstrap/kubeadm/config/default"},
	{name: "control-plane-kubeadm", kind: "ControlPlaneProvider", module: clusterAPI, dir: "controlplane/kubeadm/config/default"},
	{name: "infrastructure-docker", kind: "InfrastructureProvider", module: clusterAPITest, dir: "infrastructure/docker/config/default"},
	// The inventory's own CRD.
	{name: "clusterctl", module: clusterAPI, dir: "cmd/clusterctl/config/crd"},
}

func main() {
	out := flag.String("o", "", "the directory to write to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out); err != nil {
		fmt.Fprintln(os.Stderr, "capi-manifests:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string) error {
	if out == "" {
		return fmt.Errorf("want -o DIR")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, p := range providers {
		module, err := findModule(ctx, p.module)
		if err != nil {
			return err
		}
		data, err := p.build(module)
		if err != nil {
			return fmt.Errorf("provider %s: %w", p.name, err)
		}
		if _, err := atomicfile.Write(filepath.Join(out, p.name+".yaml"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// module is what the go command knows of a module.
type module struct{ Dir, Version string }

func findModule(ctx context.Context, path string) (module, error) {
	var m module
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-json=Dir,Version", path)
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err == nil && m.Dir == "" {
		err = fmt.Errorf("it is not downloaded")
	}
	if err != nil {
		return m, fmt.Errorf("find module %s: %w", path, err)
	}
	return m, nil
}

// kept are the kinds that stay.
var kept = map[string]bool{
	"Namespace":                      true,
	"CustomResourceDefinition":       true,
	"MutatingWebhookConfiguration":   true,
	"ValidatingWebhookConfiguration": true,
}

func (p provider) build(m module) ([]byte, error) {
	all, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(m.Dir, p.dir))
	if err != nil {
		return nil, err
	}
	result := resmap.New()
	namespace := ""
	for _, resource := range all.Resources() {
		if !kept[resource.GetKind()] {
			continue
		}
		switch resource.GetKind() {
		case "Namespace":
			namespace = resource.GetName()
		case "CustomResourceDefinition":
			// clusterctl move finds the kinds by this label.
			labels := resource.GetLabels()
			labels["clusterctl.cluster.x-k8s.io"] = ""
			if err := resource.SetLabels(labels); err != nil {
				return nil, err
			}
		}
		if err := result.Append(resource); err != nil {
			return nil, err
		}
	}
	data, err := result.AsYaml()
	if err != nil || p.kind == "" {
		return data, err
	}
	inventory, err := p.inventory(m, namespace)
	return bytes.Join([][]byte{data, inventory}, []byte("---\n")), err
}

// inventory is the provider's entry in clusterctl's inventory.
func (p provider) inventory(m module, namespace string) ([]byte, error) {
	name := map[string]string{
		"BootstrapProvider": "kubeadm", "ControlPlaneProvider": "kubeadm", "InfrastructureProvider": "docker",
	}[p.kind]
	if name == "" {
		name = p.name
	}
	return yaml.Marshal(map[string]any{
		"apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3",
		"kind":       "Provider",
		"metadata": map[string]any{
			"name": p.name, "namespace": namespace,
			"labels": map[string]string{"clusterctl.cluster.x-k8s.io": "", "cluster.x-k8s.io/provider": p.name, "clusterctl.cluster.x-k8s.io/core": "inventory"},
		},
		"providerName": name, "type": p.kind, "version": m.Version,
	})
}
