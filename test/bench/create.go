package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/capiam/capiam/pkg/provider/local"
)

// benchSpec is a cluster with a few identities, as in examples/local.yaml.
const benchSpec = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata: {name: bench}
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: bench}
  identityProviderRefs: [{kind: AWSIamConfig, name: bench}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata: {name: bench}
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata: {name: bench}
spec:
  awsRegion: us-west-2
  backendMode: [EKSConfigMap]
  mapRoles:
    - {roleARN: "arn:aws:iam::111122223333:role/Admin", username: admin, groups: ["system:masters"]}
    - {roleARN: "arn:aws:iam::111122223333:role/Developer", username: developer, groups: ["capiam:edit"]}
  mapUsers:
    - {userARN: "arn:aws:iam::111122223333:user/viewer", username: viewer, groups: ["capiam:view"]}
`

// capiam runs bin/capiam in the bench's own directories.
func (b *bench) capiam(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "capiam"), args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(b.dir, "data"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("capiam %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return nil
}

func (b *bench) writeSpec() (string, error) {
	path := filepath.Join(b.dir, "spec.yaml")
	return path, os.WriteFile(path, []byte(benchSpec), 0o600)
}

// create times `capiam create cluster`, which starts a control plane, installs,
// maps and logs in, beside etcd and kube-apiserver alone up to /readyz.
func (b *bench) create(ctx context.Context) ([]row, error) {
	spec, err := b.writeSpec()
	if err != nil {
		return nil, err
	}
	var ours, bare []float64
	for i := range b.runs + 1 {
		started := time.Now()
		if err := b.capiam(ctx, "create", "cluster", "-f", spec); err != nil {
			return nil, err
		}
		took := milliseconds(time.Since(started))
		if err := b.capiam(ctx, "delete", "cluster", "bench"); err != nil {
			return nil, err
		}
		alone, err := b.bare(ctx, i)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			continue // the first reads the programs from disk
		}
		ours, bare = append(ours, took), append(bare, milliseconds(alone))
	}
	return []row{compare("create cluster (local)", "ms", "etcd + kube-apiserver to /readyz", "at most 1.5", ours, bare)}, nil
}

// bare times etcd and kube-apiserver alone.
func (b *bench) bare(ctx context.Context, i int) (took time.Duration, err error) {
	store := &local.Store{Root: filepath.Join(b.dir, "bare")}
	name := fmt.Sprintf("bare%d", i)
	layout := store.Layout(name)
	ports, err := store.ChoosePorts(0)
	if err != nil {
		return 0, err
	}
	record := &local.Record{Name: name, ClusterID: name, Ports: ports, Region: "us-west-2", Partition: "aws"}
	if err := local.WriteRecord(layout, record); err != nil {
		return 0, err
	}
	if _, err := local.EnsureKeys(layout, record, time.Now); err != nil {
		return 0, err
	}
	// Bare means without the webhook, too.
	if err := os.Remove(layout.Webhook()); err != nil {
		return 0, err
	}
	client, err := local.AdminHTTPClient(layout)
	if err != nil {
		return 0, err
	}
	defer client.CloseIdleConnections()
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "capiam-local"), "bare", "--dir", layout.Dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if waitErr := cmd.Wait(); waitErr != nil {
			err = errors.Join(err, fmt.Errorf("capiam-local bare: %w", waitErr))
		}
	}()
	for {
		resp, err := client.Get(record.APIServerURL() + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == 200 {
				return time.Since(started), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
