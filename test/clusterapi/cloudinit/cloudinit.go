// Package cloudinit reads the cloud-init that kubeadm's bootstrap provider makes
// for a machine, so that tests can say what a machine would be given.
package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// Config is what a test looks at in a cloud-config document.
type Config struct {
	Files []File `json:"write_files"`
	// Commands are run in this order, kubeadm among them.
	Commands []string `json:"runcmd"`
}

// File is a file that is written before anything runs. Its content is decoded.
type File struct {
	Path        string `json:"path"`
	Owner       string `json:"owner"`
	Permissions string `json:"permissions"`
	Encoding    string `json:"encoding"`
	Append      bool   `json:"append"`
	Content     string `json:"content"`
}

// Where Cluster API puts kubeadm's configuration: on the first machine, and on
// those that join.
const (
	InitPath = "/run/kubeadm/kubeadm.yaml"
	JoinPath = "/run/kubeadm/kubeadm-join-config.yaml"
)

const header = "#cloud-config"

// Parse reads a cloud-config document.
func Parse(data []byte) (*Config, error) {
	if !slices.Contains(strings.Split(string(data), "\n"), header) {
		return nil, fmt.Errorf("cloud-init: no line %q", header)
	}
	c := &Config{}
	if err := yaml.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("cloud-init: %w", err)
	}
	for i := range c.Files {
		if err := c.Files[i].decode(); err != nil {
			return nil, fmt.Errorf("cloud-init: file %s: %w", c.Files[i].Path, err)
		}
	}
	return c, nil
}

func (f *File) decode() error {
	if f.Encoding == "" {
		return nil
	}
	if f.Encoding != "base64" && f.Encoding != "gzip+base64" {
		return fmt.Errorf("unknown encoding %q", f.Encoding)
	}
	content, err := base64.StdEncoding.DecodeString(f.Content)
	if err != nil {
		return err
	}
	if f.Encoding == "gzip+base64" {
		r, err := gzip.NewReader(bytes.NewReader(content))
		if err != nil {
			return err
		}
		if content, err = io.ReadAll(r); err != nil {
			return err
		}
	}
	f.Content = string(content)
	return nil
}

// File is the file with a path, or nil.
func (c *Config) File(path string) *File {
	i := slices.IndexFunc(c.Files, func(f File) bool { return f.Path == path })
	if i < 0 {
		return nil
	}
	return &c.Files[i]
}

// Kubeadm returns the documents of kubeadm's configuration by their kind:
// ClusterConfiguration and InitConfiguration on the first machine,
// JoinConfiguration on one that joins.
func (c *Config) Kubeadm() (map[string]map[string]any, error) {
	file := c.File(InitPath)
	if file == nil {
		file = c.File(JoinPath)
	}
	if file == nil {
		return nil, fmt.Errorf("cloud-init: neither %s nor %s", InitPath, JoinPath)
	}
	documents := map[string]map[string]any{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(file.Content), 4096)
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Path, err)
		}
		if kind, ok := document["kind"].(string); ok {
			documents[kind] = document
		}
	}
}

// ExtraArgs are the flags of a part of the control plane ("apiServer",
// "controllerManager", "scheduler") in a ClusterConfiguration, each with its
// values in their order. They are a list in kubeadm's v1beta4, a map before.
func ExtraArgs(clusterConfiguration map[string]any, part string) map[string][]string {
	section, _ := clusterConfiguration[part].(map[string]any)
	args := map[string][]string{}
	switch extra := section["extraArgs"].(type) {
	case map[string]any:
		for name, value := range extra {
			args[name] = []string{fmt.Sprint(value)}
		}
	case []any:
		for _, item := range extra {
			if arg, ok := item.(map[string]any); ok {
				name := fmt.Sprint(arg["name"])
				args[name] = append(args[name], fmt.Sprint(arg["value"]))
			}
		}
	}
	return args
}
