package workflow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
)

// DeleteManagedOptions change what DeleteManaged does.
type DeleteManagedOptions struct {
	// WithCluster also deletes a Cluster that capiam has not made.
	WithCluster bool
	// NoWait returns once Cluster API was told.
	NoWait bool
}

// DeleteManaged deletes a cluster that Cluster API keeps, with all that capiam
// made for it: the files it gave to users, what it keeps on the management
// cluster, and the Cluster itself, if it is capiam's. Run again, it carries on.
func (m *Manager) DeleteManaged(ctx context.Context, key types.NamespacedName, o DeleteManagedOptions) error {
	c, err := m.managedByName(key)
	if err != nil {
		return err
	}
	step := m.progress().Step
	if keys, err := c.mgmt.FindKeys(ctx, key); err == nil && keys.SpecName != "" {
		if c.outputs, err = m.outputs(keys.SpecName); err != nil {
			return err
		}
	}
	if err := step(ctx, "Delete the cluster", func(ctx context.Context) (string, error) {
		c.state, err = c.mgmt.State(ctx, key)
		switch {
		case errors.Is(err, clusterapi.ErrNotFound):
			if _, keysErr := c.mgmt.FindKeys(ctx, key); errors.Is(keysErr, clusterapi.ErrNotFound) {
				return "", err
			}
			return "it is gone already", nil
		case err != nil:
			return "", err
		case !c.managed() && !o.WithCluster:
			return "", fmt.Errorf("Cluster %s was not made by capiam: to go on without AWS IAM logins, take spec.identityProviderRefs out of its spec and run `capiam upgrade cluster`; to delete it all the same, with its machines, add --with-cluster", key)
		}
		if err := c.mgmt.DeleteCluster(ctx, key); err != nil || o.NoWait {
			return "", err
		}
		return "", c.await(ctx, clusterapi.Gone)
	}); err != nil {
		return err
	}
	return step(ctx, "Remove what capiam kept for it", func(ctx context.Context) (string, error) {
		return "", errors.Join(c.outputs.removeKubeconfigs(), c.mgmt.DeleteSecrets(ctx, key))
	})
}

// managedByName finds a cluster by its name on the management cluster alone.
func (m *Manager) managedByName(key types.NamespacedName) (*managedCluster, error) {
	mgmt, err := clusterapi.Connect(m.Management)
	if err != nil {
		return nil, err
	}
	outputs, err := m.outputs(key.Name)
	if err != nil {
		return nil, err
	}
	return m.managedAt(mgmt, key, outputs), nil
}

// ManagedKubeconfig returns a kubeconfig that the management cluster keeps: the
// users', or the administrator's.
func (m *Manager) ManagedKubeconfig(ctx context.Context, key types.NamespacedName, admin bool) ([]byte, error) {
	c, err := m.managedByName(key)
	if err != nil {
		return nil, err
	}
	if admin {
		return c.mgmt.AdminKubeconfig(ctx, key)
	}
	return c.mgmt.UserKubeconfig(ctx, key)
}

// ParseManagedName reads NAME or NAMESPACE/NAME; the namespace is the given one if
// it is left out.
func ParseManagedName(text, namespace string) (types.NamespacedName, error) {
	if before, after, found := strings.Cut(text, "/"); found {
		namespace, text = before, after
	}
	if namespace == "" {
		namespace = "default"
	}
	if text == "" || strings.Contains(text, "/") {
		return types.NamespacedName{}, fmt.Errorf("%q: want the name of a Cluster", text)
	}
	return types.NamespacedName{Namespace: namespace, Name: text}, nil
}
