package spec

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/mapping"
)

// MaxBytes is the largest spec file that is read: room for well over the
// mappings that fit into a ConfigMap, and little enough to read without a
// thought.
const MaxBytes = 4 << 20

// StdinName is the name standard input goes by in issues.
const StdinName = "<stdin>"

// Spec is one cluster's spec, complete and checked.
type Spec struct {
	// File is the name the spec was read from; StdinName for standard input.
	File string
	// Name and Namespace are the Cluster's; the namespace is never empty.
	Name      string
	Namespace string

	Cluster *v1alpha1.Cluster
	IAM     *v1alpha1.AWSIamConfig
	// Local is set if the cluster runs on this machine.
	Local *v1alpha1.LocalDatacenterConfig

	// Warnings are what should be looked at and does not stop anything.
	Warnings []Issue
	// Raw is the file as it was read.
	Raw []byte
}

// Load reads the spec file at path, or stdin if path is "-". A file that cannot
// be read gives an error naming it; a file with problems gives Errors.
func Load(path string, stdin io.Reader) (*Spec, error) {
	if path == "" {
		return nil, errors.New("no spec file named: give one with -f FILE, or - for standard input")
	}
	name, in := StdinName, stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read the spec: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("cannot read the spec: %w", err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("cannot read the spec: %s is a directory: name the file in it", path)
		}
		name, in = path, f
	}
	if in == nil {
		return nil, errors.New("cannot read the spec: there is no standard input")
	}
	// One byte more than allowed tells a file that just fits from one that
	// does not, whatever kind of file it is.
	data, err := io.ReadAll(io.LimitReader(in, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec %s: %w", name, err)
	}
	return Parse(name, data)
}

// Mappings returns who may log in: roles, then SSO roles, then users and
// accounts, each in the spec's order.
func (s *Spec) Mappings() mapping.Mappings {
	return s.IAM.Mappings()
}
