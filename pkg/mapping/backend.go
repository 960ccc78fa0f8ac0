package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The backends a table can come from, by their names in --backend-mode. They
// are the names of Sources.
const (
	BackendMountedFile  = "MountedFile"
	BackendEKSConfigMap = "EKSConfigMap"
	BackendCRD          = "CRD"
	BackendDynamicFile  = "DynamicFile"
)

// Backends returns the names of all backends.
func Backends() []string {
	return []string{BackendEKSConfigMap, BackendCRD, BackendMountedFile, BackendDynamicFile}
}

// ParseBackends checks a list of backends and returns it with the names that
// aws-iam-authenticator deprecates ("File", "ConfigMap") replaced by the current
// ones. The list's order is kept: the first backend that knows a principal wins.
// An empty list, an unknown name or one that comes twice is an error.
func ParseBackends(modes []string) ([]string, error) {
	if len(modes) == 0 {
		return nil, errors.New("no backend mode: name at least one of " + strings.Join(Backends(), ", "))
	}
	backends := make([]string, 0, len(modes))
	for _, mode := range modes {
		name := mode
		switch mode {
		case "File":
			name = BackendMountedFile
		case "ConfigMap":
			name = BackendEKSConfigMap
		}
		if !slices.Contains(Backends(), name) {
			return nil, fmt.Errorf("unknown backend mode %q (one of %s)", clip(mode), strings.Join(Backends(), ", "))
		}
		if slices.Contains(backends, name) {
			return nil, fmt.Errorf("backend mode %s is listed twice", name)
		}
		backends = append(backends, name)
	}
	return backends, nil
}
