package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/token"
)

// mapping times how long after a write to aws-auth the first login by the new
// mapping works, beside how long after it a watch of the API server shows it.
func (b *bench) mapping(ctx context.Context) (rows []row, err error) {
	spec, err := b.writeSpec()
	if err != nil {
		return nil, err
	}
	if err := b.capiam(ctx, "create", "cluster", "-f", spec); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, b.capiam(context.WithoutCancel(ctx), "delete", "cluster", "bench"))
	}()
	store := &local.Store{Root: filepath.Join(b.dir, "data", "capiam", "clusters")}
	layout := store.Layout("bench")
	record, err := local.ReadRecord(layout)
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(&rest.Config{
		Host: record.APIServerURL(), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAFile: layout.PKI("ca.crt"), CertFile: layout.PKI("admin.crt"), KeyFile: layout.PKI("admin.key")},
	})
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(layout.PKI("ca.crt"))
	if err != nil {
		return nil, err
	}
	cluster := login.Cluster{Server: record.APIServerURL(), CAPEM: ca}
	var logins, watches []float64
	for i := range 4*b.runs + 1 {
		login, watch, err := b.oneMapping(ctx, i, clients, layout, record, cluster)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			logins, watches = append(logins, milliseconds(login)), append(watches, milliseconds(watch))
		}
	}
	return []row{compare("mapping written to first login", "ms", "the API server's own watch", "ours under 100 ms", logins, watches)}, nil
}

func (b *bench) oneMapping(ctx context.Context, i int, clients kubernetes.Interface, layout local.Layout, record *local.Record, cluster login.Cluster) (toLogin, toWatch time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	arn := iam.ARN{Partition: "aws", Account: "111122223333", Kind: iam.KindRole, Name: fmt.Sprintf("New%d", i)}
	answer, err := local.NewControl(layout).EnsureIdentities(ctx, []local.Identity{{Profile: arn.Name, ARN: arn.String(), Session: "bench"}})
	if err != nil {
		return 0, 0, err
	}
	k := answer.Credentials[0]
	options := token.Options{
		ClusterID: record.ClusterID, Region: record.Region,
		IgnoreEnvironment: true,
		Credentials:       credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken),
	}
	maps := clients.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	live, err := maps.Get(ctx, "aws-auth", metav1.GetOptions{})
	if err != nil {
		return 0, 0, err
	}
	live.Data["mapRoles"] += fmt.Sprintf("- rolearn: %s\n  username: new%d\n", arn, i)
	watch, err := maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=aws-auth", ResourceVersion: live.ResourceVersion})
	if err != nil {
		return 0, 0, err
	}
	defer watch.Stop()
	seen := make(chan time.Time, 1)
	go func() {
		for event := range watch.ResultChan() {
			if m, ok := event.Object.(*corev1.ConfigMap); ok && m.Data["mapRoles"] == live.Data["mapRoles"] {
				seen <- time.Now()
				return
			}
		}
	}()
	started := time.Now()
	if _, err := maps.Update(ctx, live, metav1.UpdateOptions{}); err != nil {
		return 0, 0, err
	}
	for {
		// A token of this very moment, as a user's kubectl would make it.
		t, err := token.Presign(ctx, options)
		if err != nil {
			return 0, 0, err
		}
		result, err := cluster.Try(ctx, t)
		if err != nil {
			return 0, 0, err
		}
		if !result.Refused {
			toLogin = time.Since(started)
			break
		}
	}
	select {
	case at := <-seen:
		return toLogin, at.Sub(started), nil
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
}
