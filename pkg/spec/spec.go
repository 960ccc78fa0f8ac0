package spec

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/mapping"
)

// MaxBytes is the largest file that is read: room for well over the
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
	// IAM says who may log in. It is nil where the Cluster names no identity
	// provider, which switches IAM authentication off; never on a local
	// cluster.
	IAM *v1alpha1.AWSIamConfig

	// Of these, the one that says where the cluster runs is set.
	Local      *v1alpha1.LocalDatacenterConfig
	Docker     *v1alpha1.DockerDatacenterConfig
	ClusterAPI *v1alpha1.ClusterAPIDatacenterConfig
	// Objects are the API objects of other groups than capiam's that come with
	// a ClusterAPIDatacenterConfig: those of the spec file and then those of
	// the files that it names, in their order.
	Objects []Object

	// Warnings are what should be looked at and does not stop anything.
	Warnings []Issue
	// Raw is the file as it was read.
	Raw []byte
}

// Object is an API object that capiam takes as it is.
type Object struct {
	// File is what issues call the file, and Line the line of it that Text
	// starts on, from 1.
	File string
	Line int
	// Text is the document with its comments, as it was written, without the
	// markers around it.
	Text []byte

	// APIVersion, Kind and Name are never empty. Namespace is empty if none is
	// written.
	APIVersion, Kind, Namespace, Name string
}

// Load reads the spec file at path, or stdin if path is "-", and the files that
// it names. A spec file that cannot be read gives an error naming it; one with
// problems gives Errors.
func Load(path string, stdin io.Reader) (*Spec, error) {
	switch {
	case path == "":
		return nil, errors.New("no spec file named: give one with -f FILE, or - for standard input")
	case path == "-" && stdin == nil:
		return nil, errors.New("cannot read the spec: there is no standard input")
	case path == "-":
		data, err := readAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("cannot read the spec %s: %w", StdinName, err)
		}
		return ParseFiles(StdinName, data, readFile)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	return ParseFiles(path, data, readFile)
}

// readFile reads a file and no more of it than tells that it is too large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: name the file in it", path)
	}
	return readAll(f)
}

// readAll reads one byte more than is allowed, which tells a file that just fits
// from one that does not, whatever kind of file it is.
func readAll(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, MaxBytes+1))
}

// GroupBindings returns the ClusterRoles that the spec gives to groups.
func (s *Spec) GroupBindings() []v1alpha1.GroupBinding {
	switch {
	case s.Local != nil:
		return s.Local.Spec.GroupBindings
	case s.Docker != nil:
		return s.Docker.Spec.GroupBindings
	case s.ClusterAPI != nil:
		return s.ClusterAPI.Spec.GroupBindings
	default:
		return nil
	}
}

// Mappings returns who may log in: roles, then SSO roles, then users and
// accounts, each in the spec's order. It is empty if IAM is nil.
func (s *Spec) Mappings() mapping.Mappings {
	if s.IAM == nil {
		return mapping.Mappings{}
	}
	return s.IAM.Mappings()
}
