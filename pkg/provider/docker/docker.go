// Package docker makes the Cluster API objects of a DockerDatacenterConfig.
package docker

import (
	"errors"

	"github.com/capiam/capiam/pkg/spec"
)

// Render returns a spec's Cluster API objects for the Docker provider.
func Render(*spec.Spec) ([]byte, error) {
	return nil, errors.New("DockerDatacenterConfig is not rendered yet")
}
